//! C programs, compiled in the cage, whose threads race, spin and lock.

use super::{Program, random, steady};

pub const PROGRAMS: &[Program] = &[
    random(
        "C: 8 racing threads",
        "gcc",
        &["gcc"],
        "raced",
        "cat > r.c <<'E'
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
static volatile long n; static char order[256]; static volatile int at;
static void *f(void *a) {
    for (int i = 0; i < 2000; i++) { long x = n; if (i % 100 == 0) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); write(1, \"\", 0); } n = x + 1; }
    order[at++] = 'a' + (long)a; unsigned r; getrandom(&r, 4, 0); usleep(r % 1000); printf(\"%ld %u\\n\", (long)a, r); return 0;
}
int main() { pthread_t t[8]; for (long i = 0; i < 8; i++) pthread_create(t + i, 0, f, (void *)i); for (int i = 0; i < 8; i++) pthread_join(t[i], 0); printf(\"raced %ld %s %p\\n\", n, order, (void *)t); return 0; }
E
gcc -O1 -pthread r.c -o r && ./r",
    ),
    steady(
        "C: pthread_spin_lock held across a sleep",
        "gcc",
        &["gcc"],
        "held 8",
        "cat > s.c <<'E'
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static pthread_spinlock_t l; static int n;
static void *f(void *a) { pthread_spin_lock(&l); int x = n; usleep(2000); n = x + 1; pthread_spin_unlock(&l); return a; }
int main() { pthread_t t[8]; pthread_spin_init(&l, 0); for (long i = 0; i < 8; i++) pthread_create(t + i, 0, f, 0); for (int i = 0; i < 8; i++) pthread_join(t[i], 0); printf(\"held %d\\n\", n); return 0; }
E
gcc -O2 -pthread s.c -o s && ./s",
    ),
    steady(
        "C: OpenMP, OMP_NUM_THREADS=4",
        "gcc",
        &["gcc"],
        "sum",
        "cat > o.c <<'E'
#include <omp.h>
#include <stdio.h>
int main() { double s = 0; int w[4] = {0};
#pragma omp parallel for schedule(dynamic, 7) reduction(+:s)
for (int i = 1; i <= 100000; i++) { s += 1.0 / i; w[omp_get_thread_num()]++; }
#pragma omp parallel
{
#pragma omp critical
printf(\"%d/%d\\n\", omp_get_thread_num(), omp_get_num_threads());
#pragma omp barrier
}
printf(\"sum %.17g %d %d %d %d\\n\", s, w[0], w[1], w[2], w[3]); return 0; }
E
gcc -O2 -fopenmp o.c -o o && OMP_NUM_THREADS=4 ./o",
    ),
    random(
        "C++: async, condition variables, random_device",
        "g++",
        &["g++"],
        "sum",
        "cat > a.cc <<'E'
#include <future>
#include <iostream>
#include <random>
#include <thread>
#include <vector>
#include <chrono>
#include <condition_variable>
int main() { std::vector<std::future<long>> v; for (int i = 0; i < 6; i++) v.push_back(std::async(std::launch::async, [i] { std::this_thread::sleep_for(std::chrono::milliseconds(7 - i)); return long(i * i); }));
long s = 0; for (auto &f : v) s += f.get(); std::random_device d(\"/dev/urandom\"); std::mutex m; std::condition_variable c; std::unique_lock<std::mutex> l(m);
auto r = c.wait_for(l, std::chrono::milliseconds(30)) == std::cv_status::timeout; std::cout << \"sum \" << s << ' ' << d() << ' ' << r << ' ' << std::chrono::system_clock::now().time_since_epoch().count() << std::endl; }
E
g++ -O0 -pthread a.cc -o a && ./a",
    ),
];
