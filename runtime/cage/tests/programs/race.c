/* Eight threads race for a counter that nothing protects: natively the order differs from run to run. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static volatile unsigned counter;
static unsigned order[8 * 64];
static unsigned long long drawn;

static void *racer(void *number) {
    for (int i = 0; i < 64; i++) {
        unsigned seen = counter;
        if (i % 5 == 0) usleep(10);
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        unsigned char byte;
        getrandom(&byte, 1, 0);
        drawn = drawn * 31 + byte + now.tv_nsec;
        order[seen % 512] = (unsigned)(long)number;
        counter = seen + 1;
    }
    return 0;
}

int main(void) {
    pthread_t threads[8];
    for (long i = 0; i < 8; i++) pthread_create(&threads[i], 0, racer, (void *)i);
    for (int i = 0; i < 8; i++) pthread_join(threads[i], 0);
    unsigned hash = 2166136261u;
    for (int i = 0; i < 512; i++) hash = (hash ^ order[i]) * 16777619u;
    printf("counter %u order %08x drawn %llx\n", counter, hash, drawn);
    return 0;
}
