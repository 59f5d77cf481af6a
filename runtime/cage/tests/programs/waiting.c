/* Waits of every kind that the supervisor has to make for a task. Prints what it saw; all times are logical. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct timespec begun;
/* Logical milliseconds since the last mark. */
static long ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - begun.tv_sec) * 1000 + (now.tv_nsec - begun.tv_nsec) / 1000000;
}
static void mark(void) { clock_gettime(CLOCK_MONOTONIC, &begun); }
static void say(const char *name, long a, long b) { printf("%s %ld %ld\n", name, a, b); fflush(stdout); }
static volatile int caught, code, overruns;
static void catch(int signal, siginfo_t *info, void *context) {
    (void)context;
    caught = signal;
    code = info->si_code;
    if (info->si_code == SI_TIMER) overruns = info->si_overrun;
}
static void on(int signal, int flags) {
    struct sigaction action = {.sa_sigaction = catch, .sa_flags = SA_SIGINFO | flags};
    sigaction(signal, &action, NULL);
}

static void counters(void) {
    int fd = eventfd(0, 0);
    uint64_t value = 1;
    if (fork() == 0) {
        usleep(50000);
        value = 7;
        write(fd, &value, 8);
        _exit(0);
    }
    mark();
    read(fd, &value, 8);
    say("eventfd", value, ms());
    wait(NULL);
    int full = eventfd(0, EFD_SEMAPHORE);
    value = UINT64_MAX - 1;
    write(full, &value, 8);
    if (fork() == 0) {
        usleep(30000);
        read(full, &value, 8);
        _exit(value != 1);
    }
    mark();
    value = 1;
    write(full, &value, 8); /* waits for room */
    int status;
    wait(&status);
    say("eventfd full", ms(), status);
}

static void timers(void) {
    uint64_t count;
    struct itimerspec every = {{0, 20000000}, {0, 50000000}}, left;
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    long empty = read(fd, &count, 8);
    say("timerfd empty", empty, errno == EAGAIN);
    mark();
    timerfd_settime(fd, 0, &every, NULL);
    struct pollfd one = {fd, POLLIN, 0};
    poll(&one, 1, -1);
    read(fd, &count, 8);
    say("timerfd first", count, ms());
    usleep(110000);
    read(fd, &count, 8);
    say("timerfd later", count, ms());
    timerfd_gettime(fd, &left);
    say("timerfd left", left.it_interval.tv_nsec, left.it_value.tv_nsec / 1000000);
    close(fd);

    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    on(SIGRTMIN, 0);
    timer_create(CLOCK_REALTIME, &event, &timer);
    struct itimerspec soon = {{0, 10000000}, {0, 10000000}};
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, &old);
    timer_settime(timer, 0, &soon, NULL);
    usleep(55000);
    sigprocmask(SIG_SETMASK, &old, NULL);
    say("timer overrun", overruns, timer_getoverrun(timer)); /* five expirations, one signal */
    say("timer code", caught == SIGRTMIN, code == SI_TIMER);
    timer_delete(timer);
    on(SIGALRM, 0);
    mark();
    alarm(2);
    long paused = pause();
    say("pause", paused, ms());
    say("alarm code", caught == SIGALRM, code);
    struct itimerval interval = {{0, 0}, {0, 250000}};
    mark();
    setitimer(ITIMER_REAL, &interval, NULL);
    char byte;
    int ends[2];
    pipe(ends);
    long got = read(ends[0], &byte, 1);
    say("read interrupted", got == -1 && errno == EINTR, ms());
}

static void readiness(void) {
    int ends[2];
    pipe(ends);
    struct pollfd list[3] = {{ends[0], POLLIN, 0}, {ends[1], POLLOUT, 0}, {99, POLLIN, 0}};
    long ready = poll(list, 3, -1);
    say("poll", ready, list[1].revents << 8 | list[2].revents);
    struct timespec limit = {0, 300000000};
    mark();
    ready = ppoll(list, 1, &limit, NULL);
    say("ppoll", ready, ms());
    struct timeval rest = {1, 500000};
    fd_set in;
    FD_ZERO(&in);
    FD_SET(ends[0], &in);
    if (fork() == 0) {
        usleep(400000);
        write(ends[1], "abc", 3);
        _exit(0);
    }
    ready = select(ends[0] + 1, &in, NULL, NULL, &rest);
    say("select", ready, rest.tv_sec * 1000 + rest.tv_usec / 1000);
    wait(NULL);
    int set = epoll_create1(0);
    struct epoll_event edge = {EPOLLIN | EPOLLET, {.u64 = 5}}, got[4];
    epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &edge);
    long first = epoll_wait(set, got, 4, 0), second = epoll_wait(set, got, 4, 100);
    say("edge", first, second);
    edge.events = EPOLLIN | EPOLLONESHOT;
    epoll_ctl(set, EPOLL_CTL_MOD, ends[0], &edge);
    first = epoll_wait(set, got, 4, -1), second = epoll_wait(set, got, 4, 100);
    say("oneshot", first, second);
    sigset_t none, usr;
    sigemptyset(&none);
    sigemptyset(&usr);
    sigaddset(&usr, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr, NULL);
    on(SIGUSR1, 0);
    raise(SIGUSR1);
    say("pending", caught == SIGUSR1, 0);
    mark();
    ready = epoll_pwait(set, got, 4, 10000, &none);
    say("epoll_pwait", ready == -1 && errno == EINTR && caught == SIGUSR1, ms());
    int own = signalfd(-1, &usr, 0);
    edge.events = EPOLLIN;
    epoll_ctl(set, EPOLL_CTL_ADD, own, &edge);
    if (fork() == 0) {
        usleep(100000);
        kill(getppid(), SIGUSR1);
        usleep(100000);
        kill(getppid(), SIGUSR1);
        _exit(0);
    }
    mark();
    ready = epoll_wait(set, got, 4, -1);
    struct signalfd_siginfo info;
    say("signalfd in epoll", ready, ms());
    read(own, &info, sizeof info);
    read(own, &info, sizeof info);
    say("signalfd", info.ssi_signo == SIGUSR1, ms());
    wait(NULL);
}

static void pipes(void) {
    int ends[2], others[2];
    pipe(ends);
    pipe(others);
    if (fork() == 0) {
        close(ends[1]);
        char *buffer = malloc(1 << 20);
        long total = 0, got, reads = 0;
        while ((got = read(ends[0], buffer, 1 << 20)) > 0) total += got, reads++;
        say("reader", total, reads);
        _exit(0);
    }
    close(ends[0]);
    char *big = calloc(1, 1 << 20);
    struct iovec parts[2] = {{big, 700000}, {big, 300000}};
    say("writev", writev(ends[1], parts, 2), 0);
    close(ends[1]);
    wait(NULL);
    signal(SIGPIPE, SIG_IGN);
    close(others[0]);
    long put = write(others[1], "x", 1);
    say("broken", put, errno == EPIPE);
    on(SIGPIPE, 0);
    put = write(others[1], "x", 1);
    say("sigpipe", put, caught == SIGPIPE);
    close(others[1]);

    int file = open("/tmp/file", O_RDWR | O_CREAT | O_TRUNC, 0600);
    write(file, big, 500000);
    lseek(file, 0, SEEK_SET);
    int pair[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    if (fork() == 0) {
        close(pair[0]);
        long total = 0, got;
        while ((got = read(pair[1], big, 1 << 20)) > 0) total += got;
        say("receiver", total, 0);
        _exit(0);
    }
    close(pair[1]);
    off_t from = 100;
    long sent = sendfile(pair[0], file, &from, 400000);
    say("sendfile", sent, from);
    close(pair[0]);
    wait(NULL);
    pipe(ends);
    pipe(others);
    loff_t at = 0;
    sent = splice(file, &at, ends[1], NULL, 1000, 0);
    say("splice in", sent, at);
    say("tee", tee(ends[0], others[1], 600, 0), 0);
    say("splice out", splice(others[0], NULL, file, NULL, 4000, 0), lseek(file, 0, SEEK_CUR));
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    long total = 0;
    while ((put = write(ends[1], big, 100000)) > 0) total += put;
    say("pipe full", total, errno == EAGAIN);
    struct iovec part = {big, 64};
    long vm = vmsplice(others[1], &part, 1, 0);
    say("vmsplice", vm, read(others[0], big, 100));
}

static void locks(void) {
    int file = open("/tmp/lock", O_RDWR | O_CREAT, 0600);
    flock(file, LOCK_EX);
    if (fork() == 0) {
        int other = open("/tmp/lock", O_RDWR);
        long now = flock(other, LOCK_EX | LOCK_NB);
        say("flock held", now, errno == EWOULDBLOCK);
        mark();
        now = flock(other, LOCK_EX);
        say("flock", now, ms() >= 290 && ms() < 330);
        struct flock range = {.l_type = F_WRLCK, .l_start = 10, .l_len = 5};
        long got = fcntl(other, F_SETLKW, &range);
        say("record lock", got, ms() >= 490 && ms() < 530);
        _exit(0);
    }
    struct flock range = {.l_type = F_WRLCK, .l_start = 0, .l_len = 100};
    fcntl(file, F_SETLK, &range);
    usleep(300000);
    flock(file, LOCK_UN);
    usleep(200000);
    range.l_type = F_UNLCK;
    fcntl(file, F_SETLK, &range);
    wait(NULL);
    long async = fcntl(file, F_SETFL, O_ASYNC);
    say("async", async, fcntl(file, F_GETFL) & O_ASYNC); /* taken, and without effect */
}

int main(void) {
    counters();
    timers();
    readiness();
    pipes();
    locks();
    return 0;
}
