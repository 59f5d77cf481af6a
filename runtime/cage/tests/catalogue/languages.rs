//! Interpreters and language run-times.

use super::{Program, random, refused, steady};

pub const PROGRAMS: &[Program] = &[
    random(
        "python3: threads that read the clock",
        "python3.11",
        &["python3"],
        "joined",
        "python3 -c '
import threading, time, random, queue
q, out, lock = queue.Queue(), [], threading.Lock()
def work(n):
    for i in range(20):
        t = time.time(); time.sleep(random.random() / 1000)
        with lock: out.append((n, i, t, time.perf_counter(), time.monotonic_ns()))
    q.put(n)
ts = [threading.Thread(target=work, args=(n,)) for n in range(6)]
[t.start() for t in ts]; [t.join() for t in ts]
print(out[:5], out[-5:], [q.get() for _ in ts], hash(\"x\"), \"joined\")'",
    ),
    random(
        "python3: asyncio",
        "python3.11",
        &["python3"],
        "gathered",
        "python3 -c '
import asyncio, random, time, socket
async def f(n):
    for i in range(5):
        await asyncio.sleep(random.random() / 100)
        print(n, i, asyncio.get_running_loop().time())
async def serve():
    async def on(r, w):
        w.write(await r.readline()); await w.drain(); w.close()
    s = await asyncio.start_server(on, \"127.0.0.1\", 7777)
    r, w = await asyncio.open_connection(\"127.0.0.1\", 7777)
    w.write(b\"echo\\n\"); print(await r.readline()); w.close(); s.close()
    p = await asyncio.create_subprocess_exec(\"date\"); await p.wait()
    await asyncio.to_thread(time.sleep, 0.01)
async def main(): await asyncio.gather(serve(), *(f(n) for n in range(5)))
asyncio.run(main()); print(\"gathered\")'",
    ),
    random(
        "python3: multiprocessing",
        "python3.11",
        &["python3"],
        "total 4950",
        "python3 -c '
import multiprocessing as m, os, random, time
def f(x): time.sleep(0.001 * (x % 3)); return x, os.getpid(), time.time(), random.random()
if __name__ == \"__main__\":
    with m.Pool(4) as p: r = p.map(f, range(100), chunksize=3)
    print(r[:4], r[-4:]); print(\"total\", sum(x for x, *_ in r))
    q = m.Queue(); v = m.Value(\"i\", 0)
    def g(n):
        with v.get_lock(): v.value += n
        q.put((n, os.getpid()))
    ps = [m.Process(target=g, args=(n,)) for n in range(4)]; [p.start() for p in ps]
    print([q.get() for _ in ps]); [p.join() for p in ps]; print(v.value)'",
    ),
    random(
        "python3: uuid, secrets, tempfile, sqlite, subprocess",
        "python3.11",
        &["python3"],
        "ok",
        "python3 -c '
import uuid, secrets, tempfile, sqlite3, subprocess, os, hashlib, platform, locale, zlib, concurrent.futures as c
print(uuid.uuid4(), uuid.uuid1(), secrets.token_hex(8), tempfile.mkstemp(), platform.platform(), os.cpu_count())
d = sqlite3.connect(\"p.db\"); d.execute(\"create table t(a)\"); [d.execute(\"insert into t values(?)\", (i,)) for i in range(50)]; d.commit()
print(subprocess.run([\"ls\", \"-la\"], capture_output=True, text=True).stdout, os.stat(\"p.db\"), set(\"abcdef\"))
with c.ThreadPoolExecutor(4) as e: print(list(e.map(lambda x: zlib.crc32(bytes([x])), range(9))), \"ok\")'",
    ),
    random(
        "perl",
        "perl",
        &["perl"],
        "forked",
        "perl -MTime::HiRes=time,sleep -MPOSIX -e 'print rand, \" \", time, \"\\n\"; my %h = map { $_ => 1 } 1..20; print join(\",\", keys %h), \"\\n\";
for my $i (1..3) { if (!fork) { sleep 0.01 * $i; print \"$i $$ \", rand, \"\\n\"; exit } } 1 while wait > 0; print strftime(\"%F %T\", localtime), \" forked\\n\"'",
    ),
    random(
        "gawk",
        "gawk",
        &["gawk"],
        "piped",
        "gawk 'BEGIN { srand(); print rand(), systime(), strftime(); \"date\" | getline d; print d, PROCINFO[\"pid\"];
cmd = \"sort\"; for (i = 5; i; i--) print i |& cmd; close(cmd, \"to\"); while ((cmd |& getline l) > 0) print l; \"head -c4 /dev/urandom | od -x\" | getline r; print r, \"piped\" }'",
    ),
    random(
        "node",
        "nodejs",
        &["node"],
        "then",
        "node -e 'const c = require(\"crypto\"), fs = require(\"fs\");
console.log(Math.random(), Date.now(), c.randomBytes(8).toString(\"hex\"), process.hrtime.bigint(), os = require(\"os\").cpus().length);
setTimeout(() => console.log(\"later\", performance.now()), 20); setImmediate(() => console.log(\"soon\"));
fs.promises.writeFile(\"f\", \"x\").then(() => fs.promises.stat(\"f\")).then(s => console.log(\"then\", s.size, s.mtimeMs));
c.pbkdf2(\"a\", \"b\", 1000, 8, \"sha1\", (e, k) => console.log(k)); require(\"child_process\").execFile(\"date\", (e, o) => console.log(o))'",
    ),
    random(
        "node: worker threads and a server",
        "nodejs",
        &["node"],
        "served",
        "node -e 'const { Worker } = require(\"worker_threads\"), http = require(\"http\");
for (let i = 0; i < 3; i++) new Worker(\"const {parentPort:p}=require(`worker_threads`); p.postMessage(Math.random())\", { eval: true }).on(\"message\", m => console.log(i, m));
const s = http.createServer((q, r) => r.end(\"served \" + q.url)).listen(8123, \"127.0.0.1\", () => http.get(\"http://127.0.0.1:8123/x\", r => { r.setEncoding(\"utf8\"); r.on(\"data\", console.log); r.on(\"end\", () => s.close()) }))'",
    ),
    steady(
        "gofmt, a static Go binary",
        "golang-go",
        &["gofmt"],
        "formatted",
        "mkdir p; for i in 1 2 3 4 5 6 7 8; do printf 'package  p\nfunc   f%d( ){ g( ) }\n' $i > p/$i.go; done
gofmt -l p; gofmt -w p; gofmt -d p; cat p/*.go | sha256sum; echo formatted",
    ),
    refused(
        "go build: the compiler reads RDSEED where nothing can trap it",
        "golang-go",
        &["go"],
        "E_UNTRAPPED_INSTRUCTION",
        "cat > m.go <<'E'
package main
import (\"fmt\"; \"math/rand\"; \"sync\"; \"time\"; \"os\")
func main() {
    var wg sync.WaitGroup; var mu sync.Mutex; n := 0; ch := make(chan int, 4)
    for i := 0; i < 8; i++ { wg.Add(1); go func(i int) { defer wg.Done(); time.Sleep(time.Duration(i) * time.Millisecond); mu.Lock(); n += i; mu.Unlock(); ch <- i }(i) }
    go func() { wg.Wait(); close(ch) }()
    for i := range ch { fmt.Print(i, \" \") }
    fmt.Println(n, time.Now().UnixNano(), rand.Int(), os.Getpid(), \"goroutines\")
}
E
HOME=/tmp GOFLAGS=-p=1 CGO_ENABLED=0 GO111MODULE=off go build -o m m.go && ./m",
    ),
    steady("tclsh", "tcl", &["tclsh"], "after", "echo 'puts [expr rand()]; puts [clock milliseconds]; after 50 {puts after; exit}; vwait x' | tclsh"),
    refused(
        "java: executable memory that cannot be read",
        "openjdk-17-jre-headless",
        &["java", "javac"],
        "E_UNTRAPPED_INSTRUCTION",
        "cat > M.java <<'E'
public class M { public static void main(String[] a) throws Exception {
 Thread[] t = new Thread[4]; for (int i = 0; i < 4; i++) { int n = i; t[i] = new Thread(() -> System.out.println(n + \" \" + Math.random() + \" \" + System.nanoTime())); t[i].start(); }
 for (Thread x : t) x.join(); System.out.println(java.util.UUID.randomUUID() + \" \" + System.currentTimeMillis() + \" finished\"); } }
E
javac -d . M.java && java -cp . M",
    ),
    random("ruby", "ruby", &["ruby"], "joined", "ruby -e 'puts rand, Time.now.to_f; 4.times.map { |i| Thread.new { sleep 0.01; puts i } }.each(&:join); puts :joined'"),
    random("php", "php-cli", &["php"], "ok", "php -r 'echo mt_rand(), \" \", microtime(true), \" \", uniqid(), \" ok\\n\";'"),
    random("lua", "lua5.4", &["lua"], "ok", "lua -e 'print(os.time(), math.random(), {}, \"ok\")'"),
];
