/* A machine with another clock, on this one: preloaded, it makes CLOCK_MONOTONIC run fast or slow, and leap.
 *
 *   SKEW_T0        where it begins: ns of the true clock
 *   SKEW_PPM       how much faster it runs from there on
 *   SKEW_LEAP_AT   ns of the true clock (with SKEW_LEAP_BY, ns)
 *
 * What a program waits for by a timerfd is turned back. What it waits for by a futex is not: some ms too long. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>

static int (*true_gettime)(clockid_t, struct timespec *);
static int (*true_settime)(int, int, const struct itimerspec *, struct itimerspec *);
static int64_t begins, leaps_at, leaps_by;
static double rate;

static int64_t number(const char *name) {
  const char *text = getenv(name);
  return text ? atoll(text) : 0;
}

__attribute__((constructor)) static void begin(void) {
  true_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  true_settime = (int (*)(int, int, const struct itimerspec *, struct itimerspec *))dlsym(RTLD_NEXT, "timerfd_settime");
  begins = number("SKEW_T0");
  leaps_at = number("SKEW_LEAP_AT");
  leaps_by = number("SKEW_LEAP_BY");
  const char *ppm = getenv("SKEW_PPM");
  rate = ppm ? atof(ppm) / 1e6 : 0;
}

static int64_t true_now(void) {
  struct timespec now;
  true_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int64_t leapt(int64_t at) { return leaps_at && at >= leaps_at ? leaps_by : 0; }

int clock_gettime(clockid_t id, struct timespec *out) {
  if (!true_gettime) begin();
  if (id != CLOCK_MONOTONIC) return true_gettime(id, out);
  int64_t now = true_now();
  int64_t shown = now + (int64_t)((double)(now - begins) * rate) + leapt(now);
  out->tv_sec = shown / 1000000000LL;
  out->tv_nsec = shown % 1000000000LL;
  return 0;
}

int timerfd_settime(int fd, int flags, const struct itimerspec *to, struct itimerspec *old) {
  if (!true_settime) begin();
  struct itimerspec turned = *to;
  int64_t at = to->it_value.tv_sec * 1000000000LL + to->it_value.tv_nsec;
  if ((flags & TFD_TIMER_ABSTIME) && at > 1) {
    at -= leapt(true_now());
    at = begins + (int64_t)((double)(at - begins) / (1 + rate));
    if (at < 1) at = 1;
    turned.it_value.tv_sec = at / 1000000000LL;
    turned.it_value.tv_nsec = at % 1000000000LL;
  }
  return true_settime(fd, flags, &turned, old);
}
