//! No damaged file is accepted, and the error says where.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use super::reading::numbers;
use super::recording::{header, record};
use crate::witness::*;

/// A file of several chunks in both logs.
fn sample(limit: u64) -> Vec<u8> {
    let mut file = tempfile::tempfile().unwrap();
    record(Some(file.try_clone().unwrap()), limit, &header(), 2000, 70_000, b"x");
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn small() -> Vec<u8> {
    let mut file = tempfile::tempfile().unwrap();
    record(Some(file.try_clone().unwrap()), 1 << 20, &header(), 12, 40, b"x");
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn open(bytes: &[u8]) -> Result<Witness, WitnessError> {
    let mut file: File = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    Witness::read(file)
}

/// Where each part of a sound file lies: (start, end, log and number of the chunk whose records these are).
fn chunks(bytes: &[u8]) -> Vec<(u64, u64, Log, u64)> {
    let witness = open(bytes).unwrap();
    let of = |log| {
        let index = witness.index(log).to_vec();
        (0..).zip(index).map(move |(number, entry)| {
            let length = if entry.head.kept { u64::from(entry.head.length) } else { 0 };
            (entry.offset, entry.offset + length, log, number)
        })
    };
    of(Log::Trace).chain(of(Log::Input)).collect()
}

/// The error must name the place of the byte that was changed.
fn assert_named(error: &WitnessError, at: u64, chunks: &[(u64, u64, Log, u64)], length: u64) {
    let inside = chunks.iter().find(|(start, end, ..)| (*start..*end).contains(&at));
    match (inside, error) {
        (Some((start, _, log, number)), WitnessError::Chunk { log: l, chunk, offset, .. }) => {
            assert_eq!((l, chunk, offset), (log, number, start), "byte {at}");
        }
        (Some(_), other) => panic!("byte {at} of a chunk: {other}"),
        (None, WitnessError::NotAWitness) => assert!(at < 8),
        (None, WitnessError::Header { .. }) => assert!(at < chunks[0].0),
        (None, WitnessError::Head { offset, .. }) => {
            assert!((*offset..offset + chunk::HEAD_BYTES as u64).contains(&at), "byte {at}: {error}");
        }
        // A length that grew past the end, or a head that became the footer's.
        (None, WitnessError::Footer { offset, .. }) => assert!(at + 1 >= *offset, "byte {at}: {error}"),
        (None, WitnessError::Ends { offset, .. }) => assert_eq!(*offset, length, "byte {at}"),
        (None, other) => panic!("byte {at}: {other}"),
    }
}

#[test]
fn every_flipped_bit_of_a_small_file_is_named() {
    let bytes = small();
    let places = chunks(&bytes);
    assert_eq!(places.len(), 2);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let error = open(&flipped).expect_err("a flipped bit was accepted");
            assert_named(&error, at as u64, &places, bytes.len() as u64);
        }
    }
}

#[test]
fn flipped_bytes_of_a_file_of_many_chunks_are_named() {
    let mut next = numbers(1);
    // Whole; and past its limit, with heads that have no records.
    for limit in [1 << 24, 140_000] {
        let bytes = sample(limit);
        let places = chunks(&bytes);
        assert!(places.len() >= 4);
        for _ in 0..600 {
            let at = next() as usize % bytes.len();
            let mut flipped = bytes.clone();
            flipped[at] ^= (next() as u8).max(1);
            let error = open(&flipped).expect_err("a flipped byte was accepted");
            assert_named(&error, at as u64, &places, bytes.len() as u64);
        }
    }
}

#[test]
fn a_file_that_is_cut_anywhere_is_refused() {
    let bytes = small();
    for length in 0..bytes.len() {
        let error = open(&bytes[..length]).expect_err("a cut file was accepted");
        assert!(
            matches!(error, WitnessError::Ends { offset, .. } if offset == length as u64),
            "{length}: {error}"
        );
    }
    let mut longer = bytes.clone();
    longer.push(0);
    let error = open(&longer).expect_err("a byte behind the end was accepted");
    assert!(matches!(error, WitnessError::Trailing { offset } if offset == bytes.len() as u64), "{error}");
}

#[test]
fn chunks_that_are_moved_left_out_or_repeated_are_refused() {
    let bytes = sample(1 << 24);
    let head = chunk::HEAD_BYTES;
    let mut parts: Vec<(usize, usize)> =
        chunks(&bytes).iter().map(|(start, end, ..)| (*start as usize - head, *end as usize)).collect();
    parts.sort();
    let (front, back) = (&bytes[..parts[0].0], &bytes[parts.last().unwrap().1..]);
    let build = |order: &[usize]| {
        let mut file = front.to_vec();
        order.iter().for_each(|&i| file.extend_from_slice(&bytes[parts[i].0..parts[i].1]));
        file.extend_from_slice(back);
        open(&file)
    };
    let all: Vec<usize> = (0..parts.len()).collect();
    assert!(build(&all).is_ok());
    for left_out in 0..parts.len() {
        let fewer: Vec<usize> = all.iter().copied().filter(|&i| i != left_out).collect();
        assert!(build(&fewer).is_err(), "without part {left_out}");
        let mut twice = all.clone();
        twice.insert(left_out, left_out);
        assert!(build(&twice).is_err(), "part {left_out} twice");
    }
}

#[test]
fn random_bytes_are_refused() {
    let mut next = numbers(2);
    for _ in 0..2000 {
        let mut bytes: Vec<u8> = (0..next() % 600).map(|_| next() as u8).collect();
        if next().is_multiple_of(2) && bytes.len() > 12 {
            bytes[..8].copy_from_slice(b"MNWITN01");
            bytes[9..12].fill(0);
        }
        assert!(open(&bytes).is_err());
    }
}

/// A chunk whose hashes are right and whose records are not: the decoder, not the hash, must refuse it.
fn forged(log: Log, count: u32, records: &[u8]) -> Result<Witness, WitnessError> {
    let mut bytes = small();
    let (start, end, ..) = chunks(&bytes).into_iter().find(|(.., l, _)| *l == log).unwrap();
    let leaf = chunk::leaf(log, 0, count, records);
    let head = chunk::Head { log, kept: true, first: 0, count, length: records.len() as u32, leaf };
    let mut part = head.encode().to_vec();
    part.extend_from_slice(records);
    bytes.splice(start as usize - chunk::HEAD_BYTES..end as usize, part);
    open(&bytes)
}

#[test]
fn malformed_records_under_right_hashes_are_refused() {
    let bytes = small();
    let refused = |log, count, records: &[u8]| match forged(log, count, records) {
        Err(WitnessError::Chunk { log: named, chunk: 0, why, .. }) if named == log => why,
        other => panic!("{other:?}"),
    };
    let records_of = |wanted: Log| {
        let (start, end, ..) = chunks(&bytes).into_iter().find(|(.., log, _)| *log == wanted).unwrap();
        bytes[start as usize..end as usize].to_vec()
    };
    let (trace, input) = (records_of(Log::Trace), records_of(Log::Input));
    assert_eq!(refused(Log::Trace, 11, &trace), "its head counts its records wrongly");
    assert_eq!(refused(Log::Trace, 12, &trace[..trace.len() - 1]), "ends inside a value");
    assert_eq!(refused(Log::Input, 2, &input[..input.len() - 43]), "it ends inside an input");
    assert_eq!(refused(Log::Input, 1, &[1, 1, 1, 5]), "a part of an input is not cut where it must be");
    assert_eq!(refused(Log::Input, 1, &[0, 0, 9, 0, 0]), "an input of no known kind");
    assert_eq!(refused(Log::Input, 1, &[7]), "a record of no known kind");
    let mut next = numbers(3);
    for _ in 0..3000 {
        for (log, sound) in [(Log::Trace, &trace), (Log::Input, &input)] {
            let mut other = sound.clone();
            let at = next() as usize % other.len();
            other[at] = next() as u8;
            // Other records may be well formed; then they are not those that the footer names.
            assert!(other == *sound || forged(log, [12, 2][usize::from(log == Log::Input)], &other).is_err());
        }
    }
}
