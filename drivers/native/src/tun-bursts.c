#define _GNU_SOURCE
#include "tun-bursts.h"

#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

static struct staging *tun_staging(napi_env env, int32_t fd) {
  struct staging *staging = staging_of(addon_state(env), fd);
  if (staging == NULL || staging->examined) return staging;
  struct ifreq request = {0};
  staging->vnet_header = ioctl(fd, TUNGETIFF, &request) == 0 && (request.ifr_flags & IFF_VNET_HDR) != 0;
  staging->examined = true;
  return staging;
}

/* readTun(fd, memory, count): packets added. */
static napi_value read_tun(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  struct burst *burst;
  int32_t fd, count;
  if (!get_args(env, info, 3, argv) || !get_int(env, argv[0], "fd", &fd) ||
      !get_burst(env, argv[1], argv[2], &burst, &count))
    return NULL;
  struct staging *staging = tun_staging(env, fd);
  return make_int(env, staging == NULL ? 0 : tun_read(staging, burst, count) - count);
}

/* writeTun(fd, memory, count, select): packets sent. */
static napi_value write_tun(napi_env env, napi_callback_info info) {
  napi_value argv[4];
  struct burst *burst;
  int32_t fd, count, select;
  if (!get_args(env, info, 4, argv) || !get_int(env, argv[0], "fd", &fd) ||
      !get_burst(env, argv[1], argv[2], &burst, &count) || !get_int(env, argv[3], "select", &select))
    return NULL;
  const struct staging *staging = tun_staging(env, fd);
  return make_int(env, tun_write(fd, staging != NULL && staging->vnet_header, burst, count, select));
}

void register_tun_bursts(napi_env env, napi_value exports) {
  define(env, exports, "readTun", read_tun);
  define(env, exports, "writeTun", write_tun);
}
