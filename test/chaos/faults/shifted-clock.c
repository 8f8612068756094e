// A preload of redis-server: LD_PRELOAD. The clock of the server is ahead of the machine's by as many seconds as the file
// of CHAOS_CLOCK says. The file is read again ten times a second, so the clock jumps. Monotonic clocks are untouched.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long ahead_s(void) {
  static long ahead = 0;
  static long read_at = -1;
  struct timespec now;
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
  long tenth = now.tv_sec * 10 + now.tv_nsec / 100000000;
  if (tenth == read_at) return ahead;
  read_at = tenth;
  const char *file = getenv("CHAOS_CLOCK");
  int fd = file ? open(file, O_RDONLY) : -1;
  if (fd < 0) return ahead;
  char text[32] = {0};
  if (read(fd, text, sizeof text - 1) > 0) ahead = atol(text);
  close(fd);
  return ahead;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
  int failed = syscall(SYS_clock_gettime, clock, at);
  if (!failed && clock == CLOCK_REALTIME) at->tv_sec += ahead_s();
  return failed;
}

int gettimeofday(struct timeval *at, void *zone) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  at->tv_sec = now.tv_sec;
  at->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}
