;; Sample WASM job (WASI preview 1): prints the first Fibonacci numbers below 2^32, one a line.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; Writes the digits of $n and a newline to standard output. Bytes 64..80 hold the text, 0..8 the vector.
  (func $print (param $n i32)
    (local $at i32)
    (local.set $at (i32.const 79))
    (i32.store8 (local.get $at) (i32.const 10))
    (loop $digit
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at)
        (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
      (local.set $n (i32.div_u (local.get $n) (i32.const 10)))
      (br_if $digit (local.get $n)))
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (i32.sub (i32.const 80) (local.get $at)))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "_start")
    (local $a i32) (local $b i32) (local $sum i32) (local $left i32)
    (local.set $b (i32.const 1))
    (local.set $left (i32.const 47))
    (loop $next
      (call $print (local.get $b))
      (local.set $sum (i32.add (local.get $a) (local.get $b)))
      (local.set $a (local.get $b))
      (local.set $b (local.get $sum))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $next (local.get $left)))))
