/* Waiting for file descriptors, waking a waiter, closing, telling the service manager. */
#define _GNU_SOURCE
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* The memory of drivers/native/waiter.ts: times, then an entry for each descriptor, then a mark for each. */
struct wait_area {
  double began_ms, ended_ms;
  struct pollfd entries[];
};
#define ENTRY_BYTES (sizeof(struct pollfd) + 1)

static double now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Looks again and again for `spin_us` before it lets the processor go. */
static int poll_spinning(struct pollfd *waits, nfds_t count, int timeout, int32_t spin_us, double began_ms) {
  while (spin_us > 0) {
    int ready = poll(waits, count, 0);
    if (ready != 0) return ready;
    if ((now_ms() - began_ms) * 1e3 >= spin_us) break;
  }
  return poll(waits, count, timeout);
}

/* wait(memory, count, timeoutMs, spinUs): marks the first `count` descriptors that are readable, broken or closed; returns
 * how many are, 0 after the timeout. */
static napi_value wait_for(napi_env env, napi_callback_info info) {
  napi_value argv[4];
  struct wait_area *area;
  size_t size = 0;
  int32_t count, timeout, spin_us;
  if (!get_args(env, info, 4, argv) || !get_int(env, argv[1], "count", &count) ||
      !get_int(env, argv[2], "timeoutMs", &timeout) || !get_int(env, argv[3], "spinUs", &spin_us))
    return NULL;
  if (napi_get_arraybuffer_info(env, argv[0], (void **)&area, &size) != napi_ok || size < sizeof *area ||
      (size - sizeof *area) % ENTRY_BYTES != 0 || count < 0 || (size_t)count > (size - sizeof *area) / ENTRY_BYTES) {
    napi_throw_type_error(env, "ERR_INVALID_ARG_VALUE", "wait takes the memory of a Waiter and at most as many descriptors as it has");
    return NULL;
  }
  uint8_t *marks = (uint8_t *)&area->entries[(size - sizeof *area) / ENTRY_BYTES];
  for (int32_t i = 0; i < count; i++) area->entries[i].events = POLLIN;
  area->began_ms = now_ms();
  int ready = poll_spinning(area->entries, (nfds_t)count, timeout < 0 ? -1 : timeout, spin_us, area->began_ms);
  if (ready < 0 && errno != EINTR) return throw_errno(env, errno, "poll");
  area->ended_ms = now_ms();
  for (int32_t i = 0; i < count; i++) marks[i] = ready > 0 && area->entries[i].revents != 0;
  return make_int(env, ready < 0 ? 0 : ready);
}

static napi_value create_wakeup(napi_env env, napi_callback_info info) {
  (void)info;
  int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return fd < 0 ? throw_errno(env, errno, "eventfd") : make_int(env, fd);
}

/* wake(fd): makes the descriptor readable; waking twice is the same as once. */
static napi_value wake(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  int32_t fd;
  uint64_t one = 1;
  if (!get_args(env, info, 1, argv) || !get_int(env, argv[0], "fd", &fd)) return NULL;
  if (write(fd, &one, sizeof one) < 0 && errno != EAGAIN) return throw_errno(env, errno, "write eventfd");
  return undefined(env);
}

static napi_value drain(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  int32_t fd;
  uint64_t wakes;
  if (!get_args(env, info, 1, argv) || !get_int(env, argv[0], "fd", &fd)) return NULL;
  if (read(fd, &wakes, sizeof wakes) < 0 && errno != EAGAIN) return throw_errno(env, errno, "read eventfd");
  return undefined(env);
}

static napi_value close_fd(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  int32_t fd;
  if (!get_args(env, info, 1, argv) || !get_int(env, argv[0], "fd", &fd)) return NULL;
  /* Linux releases the descriptor even when close reports EINTR. */
  if (close(fd) != 0 && errno != EINTR) return throw_errno(env, errno, "close");
  return undefined(env);
}

/* duplicate(fd): a second descriptor of the same socket or device, with a life of its own. */
static napi_value duplicate(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  int32_t fd;
  if (!get_args(env, info, 1, argv) || !get_int(env, argv[0], "fd", &fd)) return NULL;
  int second = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  return second < 0 ? throw_errno(env, errno, "fcntl F_DUPFD_CLOEXEC") : make_int(env, second);
}

/* notify(path, state): one datagram to the service manager's socket (sd_notify(3)); "@" starts an abstract name. */
static napi_value notify(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  char state[1024];
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (!get_args(env, info, 2, argv) ||
      !get_text(env, argv[0], "path", false, address.sun_path, sizeof address.sun_path) ||
      !get_text(env, argv[1], "state", false, state, sizeof state))
    return NULL;
  socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(address.sun_path));
  if (address.sun_path[0] == '@') address.sun_path[0] = 0;
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return throw_errno(env, errno, "socket");
  ssize_t sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, length);
  int error = errno;
  close(fd);
  return sent < 0 ? throw_errno(env, error, "sendto") : undefined(env);
}

void register_wait(napi_env env, napi_value exports) {
  define(env, exports, "wait", wait_for);
  define(env, exports, "createWakeup", create_wakeup);
  define(env, exports, "wake", wake);
  define(env, exports, "drain", drain);
  define(env, exports, "close", close_fd);
  define(env, exports, "duplicate", duplicate);
  define(env, exports, "notify", notify);
}
