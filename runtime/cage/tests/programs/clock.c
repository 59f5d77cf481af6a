/* What the clocks say: they move by what the program does and by what it waits for, and by nothing else. */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

static long long ns(int clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(void) {
    long long before = ns(CLOCK_MONOTONIC), real = ns(CLOCK_REALTIME);
    sleep(2);
    long long slept = ns(CLOCK_MONOTONIC) - before;
    for (volatile int i = 0; i < 50000000; i++) {}
    long long after = ns(CLOCK_MONOTONIC) - before;
    unsigned long long a = __rdtsc(), b = __rdtsc();
    printf("slept %lld.%06lld s\n", slept / 1000000000, slept / 1000 % 1000000);
    printf("loop took %lld ns\n", after - slept);
    printf("rdtsc moved %llu\n", b - a);
    printf("date %lld\n", real / 1000000000);
    printf("time %ld\n", (long)time(0) - (long)(real / 1000000000));
    return 0;
}
