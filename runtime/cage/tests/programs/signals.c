/* Signals between processes and threads, job control, executions and ends: what POSIX promises of each. */
#define _GNU_SOURCE
#include <stdio.h>
#include <signal.h>
#include <unistd.h>
#include <sys/wait.h>
#include <pthread.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
static volatile int got; static void h(int s){got=s; write(1,"H",1);}
static void*thr(void*a){for(;;)pause();return 0;}
int main(int argc,char**argv){
 if(argc>1){ if(argv[1][0]=='e') puts("exec from many"); return 0;}
 struct sigaction sa={.sa_handler=h}; sigaction(SIGUSR1,&sa,0);
 int p[2]; pipe(p); pid_t c=fork();
 if(!c){ char b; int r=read(p[0],&b,1); printf("child read r=%d errno=%d got=%d\n",r,errno,got); sa.sa_flags=SA_RESTART; sigaction(SIGUSR1,&sa,0); r=read(p[0],&b,1); printf("child restarted r=%d b=%c\n",r,b); fflush(stdout);_exit(7);} 
 sleep(1); kill(c,SIGUSR1); sleep(1); kill(c,SIGUSR1); sleep(1); write(p[1],"x",1);
 int st; wait(&st); printf("status %x\n",st);
 c=fork(); if(!c){ pause(); _exit(1);} sleep(1); kill(c,SIGTERM); waitpid(c,&st,0); printf("term %x\n",st);
 c=fork(); if(!c){ pthread_t t; for(int i=0;i<4;i++)pthread_create(&t,0,thr,0); pause(); _exit(1);} sleep(1); kill(c,SIGKILL); waitpid(c,&st,0); printf("kill %x\n",st);
 c=fork(); if(!c){ pthread_t t; for(int i=0;i<4;i++)pthread_create(&t,0,thr,0); usleep(1000); execl("/bin/signals","self","echo",NULL); _exit(1);} waitpid(c,&st,0); printf("exec %x\n",st);
 c=fork(); if(!c){ raise(SIGSTOP); printf("continued\n"); fflush(stdout); _exit(3);} waitpid(c,&st,WUNTRACED); printf("stop %x\n",st); kill(c,SIGCONT); waitpid(c,&st,0); printf("cont %x\n",st);
 c=fork(); if(!c){ *(volatile int*)0=1; } waitpid(c,&st,0); printf("segv %x\n",st);
 sigset_t s; sigemptyset(&s); sigaddset(&s,SIGUSR2); sigprocmask(SIG_BLOCK,&s,0);
 c=fork(); if(!c){ sleep(1); kill(getppid(),SIGUSR2); _exit(0);} int sg=sigwaitinfo(&s,0); printf("sigwait %d\n",sg); wait(0);
 struct timespec ts={1,0}; int r=sigtimedwait(&s,0,&ts); printf("timedwait %d %d\n",r,errno);
 sigset_t none; sigemptyset(&none); sigset_t o; sigaddset(&s,SIGUSR1); sigprocmask(SIG_BLOCK,&s,&o); c=fork(); if(!c){sleep(1);kill(getppid(),SIGUSR1);_exit(0);} r=sigsuspend(&none); printf("suspend %d %d got %d\n",r,errno,got); wait(0);
 c=fork(); if(!c){ pthread_t t; pthread_create(&t,0,thr,0); pthread_exit(0);} sleep(1); kill(c,9); waitpid(c,&st,0); printf("leader gone %x\n",st);
 struct timespec rem; sa.sa_flags=0; sigaction(SIGUSR1,&sa,0); sigprocmask(SIG_UNBLOCK,&s,0); signal(SIGUSR2,SIG_IGN); c=fork(); if(!c){ sleep(1); kill(getppid(),SIGUSR2); sleep(1); kill(getppid(),SIGUSR1); _exit(0);} ts.tv_sec=10; r=nanosleep(&ts,&rem); printf("nanosleep %d rem %ld.%03ld\n",r,rem.tv_sec,rem.tv_nsec/1000000); wait(0);
 for(int i=0;i<3;i++){ c=vfork(); if(!c) execl("/bin/signals","self","true",NULL); waitpid(c,&st,0);} printf("vfork %x\n",st);
 return 0;}
