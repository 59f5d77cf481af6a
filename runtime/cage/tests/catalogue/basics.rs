//! Shells and the commands that every system has.

use super::{Program, random, steady};

pub const PROGRAMS: &[Program] = &[
    steady(
        "coreutils: files",
        "coreutils",
        &["cp", "shred"],
        "copied",
        "mkdir -p a/b; seq 1 2000 > a/b/n; cp -r a c; mv c d; ln -s d e; ln a/b/n h; touch -d 2020-01-01 t
chmod 640 t; stat -c '%n %s %a %h %i %Y' a/b/n t e h; du -a a; df -k . | tail -1; rm -r a; truncate -s 9999 t
split -n 4 h part.; cat part.* | cmp - h; dd if=h of=i bs=100 skip=3 count=7 conv=sync 2>&1 | head -2
install -m 755 h j; shred -n 1 t; sync; ls -lai --full-time; echo copied",
    ),
    steady(
        "coreutils: text",
        "coreutils",
        &["sort", "nl"],
        "500",
        "seq 1 500 | shuf --random-source=/bin/ls > s; sort --parallel=4 -S 1M -n s | tail -1; sort -R --random-source=/bin/ls s | md5sum
wc s; tac s | head -2; nl s | tail -1; paste s s | cut -f2 | uniq | tr 0-9 a-j | fold -w 3 | expand | fmt | sha256sum
comm -12 s s 2>/dev/null | wc -l; join s s 2>/dev/null | wc -l; od -c s | tail -2; base64 s | cksum; numfmt --to=iec 123456
factor 1234567890; expr 6 \\* 7; printf '%05d\\n' 42; seq 10 | tee x | pr -2 -t",
    ),
    random(
        "coreutils: what differs elsewhere",
        "coreutils",
        &["mktemp", "shuf"],
        "cage",
        "date +%F.%T.%N; nproc; uname -a; hostname || uname -n; id; tty; mktemp -u; shuf -i 1-1000000 -n 3; echo $$ $PPID
ls -laR /etc | md5sum; ls -la /proc/self/ | wc -l; head -c 16 /dev/urandom | od -x; cat /proc/sys/kernel/random/boot_id
who; pwd; env; stat -f -c '%b %c %T' /; cat /proc/loadavg /proc/uptime; sleep 0.25; date +%N",
    ),
    steady(
        "sleep and timeout",
        "coreutils",
        &["timeout"],
        "124",
        "date +%s; sleep 2; date +%s; timeout 1 sleep 5; echo $?; timeout -s INT 0.01 sha256sum /dev/zero; echo $?; date +%s.%N",
    ),
    random(
        "busybox sh",
        "busybox-static",
        &["busybox"],
        "done",
        "busybox sh -c 'for i in 1 2 3; do (busybox sleep 0.$i; echo $i $RANDOM) & done; wait; busybox ps; busybox date
busybox seq 100 | busybox awk \"{s+=\\$1} END {print s}\"; busybox mktemp; busybox ls -la /usr | busybox md5sum
busybox dd if=/dev/urandom bs=16 count=1 2>/dev/null | busybox hexdump -C; busybox vi --help 2>&1 | busybox head -1; echo done'",
    ),
    random(
        "bash: jobs, pipes, $RANDOM",
        "bash",
        &["bash"],
        "trapped",
        "bash -c 'for i in {1..8}; do (for j in 1 2 3; do echo $i $j $RANDOM $SRANDOM; done) & done; wait
set -m; sleep 5 & kill -STOP %1; jobs; kill -CONT %1; kill %1; wait %1; echo $?
trap \"echo trapped\" USR1; (kill -USR1 $$); sleep 0.1; coproc cat; echo hi >&${COPROC[1]}; read -u ${COPROC[0]} x; echo $x
diff <(seq 5) <(seq 4); time true; echo $SECONDS $EPOCHREALTIME $BASHPID; mapfile -t a < <(seq 3); echo ${a[@]}' 2>&1",
    ),
    steady(
        "xargs -P4, flock, fifos",
        "findutils",
        &["xargs", "flock", "mkfifo"],
        "sum 5050",
        "echo 0 > n; seq 100 | xargs -P4 -I{} flock n.lock sh -c 'echo $(( $(cat n) + {} )) > n.new; mv n.new n'; echo sum $(cat n)
mkfifo p; (for i in 1 2 3; do echo line $i; sleep 0.01; done > p) & cat p; wait; seq 8 | xargs -P4 -n1 echo",
    ),
    steady(
        "sed and awk in pipes",
        "sed",
        &["sed", "awk", "grep"],
        "words",
        "yes 'the quick brown fox' | head -20000 | sed 's/quick/slow/;s/o/0/g' | tee all | grep -c sl0w
awk '{for(i=1;i<=NF;i++) n[$i]++} END {for (w in n) print \"words\", w, n[w]}' all | sort; sed -i 1d all; md5sum all",
    ),
    steady(
        "find",
        "findutils",
        &["find"],
        "counted",
        "find /usr/share/doc -newermt 2001-01-01 -name 'copyright' | wc -l; find /etc -maxdepth 2 -type f -printf '%p %s %t %i\\n' | md5sum
mkdir -p x/{y,z}; touch x/y/1; find x -printf '%p %T@ %n\\n'; find x -delete; echo counted",
    ),
    steady(
        "ls -la /usr/bin",
        "coreutils",
        &["ls"],
        "busybox",
        "ls -la /usr/bin",
    ),
    random(
        "ps, top, uptime, free",
        "procps",
        &["ps", "top", "uptime", "free"],
        "load",
        "ps aux; top -b -n1 | head -12; uptime; free; w; pgrep -l sh; vmstat 1 2 | tail -1; mktemp -u",
    ),
    steady("dpkg -l", "dpkg", &["dpkg"], "coreutils", "dpkg -l; dpkg -L bash | tail -3; dpkg -S /bin/ls"),
    random("uuids", "uuid-runtime", &["uuidgen"], "-", "uuidgen; uuidgen -t; cat /proc/sys/kernel/random/uuid"),
];
