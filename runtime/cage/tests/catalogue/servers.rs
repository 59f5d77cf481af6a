//! Servers with their clients, over loopback and unix sockets, ended cleanly.

use super::{Program, random, steady};

pub const PROGRAMS: &[Program] = &[
    random(
        "redis-server with clients",
        "redis-server",
        &["redis-server", "redis-cli"],
        "bye",
        "redis-server --port 6399 --save '' --daemonize no --dir /out > log 2>&1 & p=$!
until redis-cli -p 6399 ping 2>/dev/null; do sleep 0.05; done
for i in 1 2 3 4 5 6; do (for j in 1 2 3; do redis-cli -p 6399 incrby k $i; done > c$i) & q=\"$q $!\"; done; wait $q
redis-cli -p 6399 get k; redis-cli -p 6399 info server | grep -E 'run_id|uptime_in_seconds|process_id'; redis-cli -p 6399 randomkey
redis-cli -p 6399 config set save '100 1'; redis-cli -p 6399 shutdown save; wait $p; echo $?; tail -3 log; ls -l dump.rdb; echo bye",
    ),
    random(
        "nginx with workers",
        "nginx",
        &["nginx", "curl"],
        "ended 0",
        "mkdir l; seq 9 > index.html; cat > n.conf <<'E'
user root; daemon off; worker_processes 2; pid /out/pid; error_log /out/err.log info;
events { worker_connections 64; }
http { access_log /out/acc.log; client_body_temp_path l; proxy_temp_path l; fastcgi_temp_path l; uwsgi_temp_path l; scgi_temp_path l;
server { listen 127.0.0.1:8088; root /out; location /id { return 200 \"$request_id $connection $msec\\n\"; } } }
E
nginx -c /out/n.conf -p /out & p=$!
for i in 1 2 3 4 5 6 7 8 9; do curl -s http://127.0.0.1:8088/id && break; sleep 0.05; done
for i in 1 2 3 4; do curl -s http://127.0.0.1:8088/id > r$i & q=\"$q $!\"; done; wait $q; cat r1 r2 r3 r4; curl -si http://127.0.0.1:8088/
kill -TERM $p; wait $p; echo ended $?; cat acc.log",
    ),
    random(
        "busybox httpd and wget",
        "busybox-static",
        &["busybox"],
        "hello",
        "mkdir w; echo hello > w/index.html; head -c 300000 /dev/urandom > w/big; busybox httpd -f -p 127.0.0.1:8090 -h w & p=$!
sleep 0.2; for i in 1 2 3; do busybox wget -qO- http://127.0.0.1:8090/index.html; done; busybox wget -qO- http://127.0.0.1:8090/big | md5sum; kill $p; wait $p; echo $?",
    ),
    random(
        "python3 http.server with clients",
        "python3.11",
        &["python3", "curl"],
        "200",
        "echo page > index.html; python3 -m http.server 8077 --bind 127.0.0.1 > log 2>&1 & p=$!
for i in $(seq 60); do curl -s -o /dev/null http://127.0.0.1:8077/ && break; sleep 0.1; done; curl -si http://127.0.0.1:8077/; mktemp -u; kill -TERM $p; wait $p; echo $?; cat log",
    ),
    steady(
        "initdb (does not run as root, which everybody in a cage is)",
        "postgresql-15",
        &["initdb"],
        "cannot be run as root",
        "initdb -D d -U p -A trust 2>&1 || true",
    ),
];
