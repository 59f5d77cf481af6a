/* Threads that wait without a system call: a bare loop on a flag, and a spin lock held across a sleep. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static volatile int flag;
static pthread_spinlock_t lock;
static volatile int entered;

static void *setter(void *unused) {
    flag = 1;
    return unused;
}

static void *holder(void *number) {
    for (int i = 0; i < 3; i++) {
        pthread_spin_lock(&lock);
        entered++;
        usleep(20000);
        printf("%ld entered as %d\n", (long)number, entered);
        pthread_spin_unlock(&lock);
    }
    return 0;
}

int main(void) {
    pthread_t threads[4];
    pthread_create(&threads[0], 0, setter, 0);
    while (!flag) {}
    pthread_join(threads[0], 0);
    pthread_spin_init(&lock, 0);
    for (long i = 0; i < 4; i++) pthread_create(&threads[i], 0, holder, (void *)i);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], 0);
    printf("entered %d times\n", entered);
    return 0;
}
