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

/* More than the devices and sockets of a box; each is looked at once per wait. */
#define WAIT_LIMIT 1024

/* Looks again and again for `spin_us` before it lets the processor go. */
static int poll_spinning(struct pollfd *waits, nfds_t count, int timeout, int32_t spin_us) {
  struct timespec start, now;
  if (spin_us > 0) clock_gettime(CLOCK_MONOTONIC, &start);
  while (spin_us > 0) {
    int ready = poll(waits, count, 0);
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t elapsed_us = (int64_t)(now.tv_sec - start.tv_sec) * 1000000 + (now.tv_nsec - start.tv_nsec) / 1000;
    if (ready != 0) return ready;
    if (elapsed_us >= spin_us) break;
  }
  return poll(waits, count, timeout);
}

/* waitFds(fds, count, timeoutMs, ready, spinUs): ready[i] = 1 when fds[i] is readable, broken or closed, else 0; returns
 * how many are, 0 after the timeout. */
static napi_value wait_fds(napi_env env, napi_callback_info info) {
  napi_value argv[5];
  int32_t count, timeout, spin_us;
  uint8_t *marks;
  size_t marks_length;
  bool is = false;
  napi_typedarray_type type;
  size_t length = 0;
  int32_t *fds = NULL;
  if (!get_args(env, info, 5, argv) || !get_int(env, argv[1], "count", &count) ||
      !get_int(env, argv[2], "timeoutMs", &timeout) || !get_bytes(env, argv[3], "ready", &marks, &marks_length) ||
      !get_int(env, argv[4], "spinUs", &spin_us))
    return NULL;
  if (napi_is_typedarray(env, argv[0], &is) != napi_ok || !is ||
      napi_get_typedarray_info(env, argv[0], &type, &length, (void **)&fds, NULL, NULL) != napi_ok ||
      type != napi_int32_array || count < 0 || count > WAIT_LIMIT || (size_t)count > length ||
      (size_t)count > marks_length) {
    napi_throw_type_error(env, "ERR_INVALID_ARG_VALUE", "waitFds takes an Int32Array, at most 1024 descriptors of it and a mark for each");
    return NULL;
  }
  struct pollfd waits[WAIT_LIMIT];
  for (int32_t i = 0; i < count; i++) waits[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
  int ready = poll_spinning(waits, (nfds_t)count, timeout < 0 ? -1 : timeout, spin_us);
  if (ready < 0 && errno != EINTR) return throw_errno(env, errno, "poll");
  for (int32_t i = 0; i < count; i++) marks[i] = ready > 0 && waits[i].revents != 0;
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
  define(env, exports, "waitFds", wait_fds);
  define(env, exports, "createWakeup", create_wakeup);
  define(env, exports, "wake", wake);
  define(env, exports, "drain", drain);
  define(env, exports, "close", close_fd);
  define(env, exports, "duplicate", duplicate);
  define(env, exports, "notify", notify);
}
