#include "tun-bursts.h"

#include "addon.h"

/* readTun(fd, memory, count): rows added. */
static napi_value read_tun(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  struct burst *burst;
  int32_t fd, count;
  if (!get_args(env, info, 3, argv) || !get_int(env, argv[0], "fd", &fd) ||
      !get_burst(env, argv[1], argv[2], &burst, &count))
    return NULL;
  return make_int(env, tun_read(fd, burst, count) - count);
}

/* writeTun(fd, memory, count, select): packets sent. */
static napi_value write_tun(napi_env env, napi_callback_info info) {
  napi_value argv[4];
  struct burst *burst;
  int32_t fd, count, select;
  if (!get_args(env, info, 4, argv) || !get_int(env, argv[0], "fd", &fd) ||
      !get_burst(env, argv[1], argv[2], &burst, &count) || !get_int(env, argv[3], "select", &select))
    return NULL;
  return make_int(env, tun_write(fd, burst, count, select));
}

void register_tun_bursts(napi_env env, napi_value exports) {
  define(env, exports, "readTun", read_tun);
  define(env, exports, "writeTun", write_tun);
}
