//! Archives, compression, cryptography, databases, builds, debuggers.

use super::{Program, random, steady};

pub const PROGRAMS: &[Program] = &[
    steady(
        "tar",
        "tar",
        &["tar"],
        "extracted",
        "mkdir s; for i in 1 2 3 4 5; do seq $i$i > s/$i; done; tar cf a.tar s; tar czf a.tgz s; tar cJf a.txz s; sha256sum a.*
mkdir t; tar xf a.tgz -C t; tar tvf a.tar; diff -r s t/s && echo extracted; tar cf - s | tar xf - -C t; tar --zstd -cf a.tzst s && md5sum a.tzst",
    ),
    steady(
        "gzip, bzip2, xz -T4, zstd -T4",
        "xz-utils",
        &["gzip", "bzip2", "xz", "zstd"],
        "whole",
        "seq 1 400000 > n; gzip -k n; bzip2 -k n; xz -k -T4 -1 --block-size=400000 n; zstd -q -k -T4 n; sha256sum n.*
for c in gzip bzip2 'xz -T4 -0' 'zstd -T4'; do cat n | $c -c | $c -dc | cmp - n && echo whole; done; gzip -l n.gz; xz -l n.xz",
    ),
    random(
        "openssl",
        "openssl",
        &["openssl"],
        "OK",
        "openssl rand -hex 32; openssl genrsa 1024 2>/dev/null | tee k.pem | tail -3; openssl req -x509 -new -key k.pem -subj /CN=x -days 9 -out c.pem
openssl verify -CAfile c.pem c.pem; openssl x509 -in c.pem -noout -dates -serial; openssl ecparam -name prime256v1 -genkey | openssl ec 2>/dev/null
echo hi | openssl enc -aes-128-cbc -pbkdf2 -pass pass:x -base64; openssl dgst -sha256 c.pem",
    ),
    random(
        "ssh-keygen",
        "openssh-client",
        &["ssh-keygen"],
        "SHA256",
        "ssh-keygen -q -t ed25519 -N '' -C x -f k; cat k.pub; ssh-keygen -l -f k; ssh-keygen -q -t rsa -b 1024 -N '' -f r; ssh-keygen -l -f r",
    ),
    steady(
        "git commit",
        "git",
        &["git"],
        "second",
        "git init -q .; git config user.email a@b; git config user.name n; seq 50 > f; git add f; git commit -qm first; echo x >> f
git commit -qam second; git log --stat --format='%H %cd %s'; git gc -q; git fsck; git clone -q . c; git -C c rev-parse HEAD",
    ),
    random(
        "sqlite3 on disk",
        "sqlite3",
        &["sqlite3"],
        "200",
        "sqlite3 d.db 'create table t(a integer primary key, b text, c text)'; for i in $(seq 20); do
for j in 1 2 3 4 5 6 7 8 9 10; do echo \"insert into t(b,c) values(hex(randomblob(8)), datetime('now'));\"; done; done > i.sql
sqlite3 d.db < i.sql; sqlite3 d.db 'pragma journal_mode=wal; select count(*) from t; select * from t limit 3; select random(); vacuum; pragma integrity_check'; sha256sum d.db",
    ),
    steady(
        "GNU make -j4 with gcc and __TIME__",
        "make",
        &["make", "gcc"],
        "built",
        "for i in 1 2 3 4 5 6; do echo \"#include <stdio.h>
void f$i(void) { puts(__DATE__ \\\" \\\" __TIME__ \\\" $i\\\"); }\" > f$i.c; done
echo 'void f1(),f2(),f3(),f4(),f5(),f6(); int main() { f1(); f2(); f3(); f4(); f5(); f6(); return 0; }' > main.c
printf 'OBJ = main.o f1.o f2.o f3.o f4.o f5.o f6.o\nprog: $(OBJ)\n\tgcc -o $@ $(OBJ)\n%%.o: %%.c\n\tgcc -g -O1 -c -o $@ $<\n' > Makefile
make -j4 && ./prog && sha256sum prog *.o && make && echo built",
    ),
    steady(
        "cmake",
        "cmake",
        &["cmake", "cc"],
        "hello",
        "echo '#include <stdio.h>
int main() { puts(\"hello\"); return 0; }' > m.c
printf 'cmake_minimum_required(VERSION 3.10)\nproject(p C)\nadd_executable(m m.c)\n' > CMakeLists.txt
cmake -S . -B b && cmake --build b -j4 && ./b/m",
    ),
    steady("jq", "jq", &["jq"], "42", "echo '{\"a\":[1,2,{\"b\":42}]}' | jq '.a[2].b, now, (.a|length)'; seq 1000 | jq -s add"),
    steady("curl and wget, unconnected", "curl", &["curl"], "libcurl", "curl --version; curl -sS http://127.0.0.1:9/ 2>&1; echo $?; echo x > f; curl -s file:///out/f"),
    steady("gdb --version", "gdb", &["gdb"], "GNU gdb", "gdb --version; gdb -batch -ex 'print 6*7' 2>&1"),
    steady(
        "strace (refused by the walls)",
        "strace",
        &["strace"],
        "refused",
        "strace true 2>&1 || echo refused",
    ),
    steady(
        "script (a cage has no pseudo-terminals)",
        "bsdutils",
        &["script"],
        "failed to create pseudo-terminal",
        "script -qc tty /dev/null 2>&1 || true",
    ),
    steady("rsync", "rsync", &["rsync"], "total size", "mkdir a; seq 1000 > a/n; rsync -av a/ b/; rsync -avc a/ b/; diff -r a b"),
];
