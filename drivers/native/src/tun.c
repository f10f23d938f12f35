/* TUN devices: layer 3, no packet information header, offloads on: TCP and UDP pass in super-packets. */
#define _GNU_SOURCE
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Kernels from 6.2 on hand over UDP super-packets, too. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

struct tun_options {
  char device[IFNAMSIZ];
  int32_t mtu;
  bool multi_queue;
};

static int set_device(const struct tun_options *options, const char **syscall) {
  struct ifreq request = {0};
  int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  *syscall = "socket";
  if (control < 0) return errno;
  memcpy(request.ifr_name, options->device, IFNAMSIZ);
  request.ifr_mtu = options->mtu;
  *syscall = "SIOCSIFMTU";
  int failed = ioctl(control, SIOCSIFMTU, &request);
  if (failed == 0) {
    *syscall = "SIOCGIFFLAGS";
    failed = ioctl(control, SIOCGIFFLAGS, &request);
  }
  if (failed == 0) {
    *syscall = "SIOCSIFFLAGS";
    request.ifr_flags |= IFF_UP;
    failed = ioctl(control, SIOCSIFFLAGS, &request);
  }
  int error = failed == 0 ? 0 : errno;
  close(control);
  return error;
}

static int open_device(void *arguments, int *error, const char **syscall) {
  const struct tun_options *options = arguments;
  struct ifreq request = {0};
  *syscall = "open /dev/net/tun";
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) {
    *error = errno;
    return -1;
  }
  memcpy(request.ifr_name, options->device, IFNAMSIZ);
  request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | (options->multi_queue ? IFF_MULTI_QUEUE : 0);
  *syscall = "TUNSETIFF";
  *error = ioctl(fd, TUNSETIFF, &request) == 0 ? set_device(options, syscall) : errno;
  if (*error == 0) {
    /* Without offloads the device works just the same, packet by packet. */
    const unsigned tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
    if (ioctl(fd, TUNSETOFFLOAD, tcp | TUN_F_USO4 | TUN_F_USO6) != 0) ioctl(fd, TUNSETOFFLOAD, tcp);
    return fd;
  }
  close(fd);
  return -1;
}

/* openTun(namespace, device, mtu, multiQueue): fd. The device exists as long as the fd is open. */
static napi_value open_tun(napi_env env, napi_callback_info info) {
  napi_value argv[4];
  char path[256];
  struct tun_options options = {0};
  if (!get_args(env, info, 4, argv) || !get_text(env, argv[0], "namespace", true, path, sizeof path) ||
      !get_text(env, argv[1], "device", false, options.device, sizeof options.device) ||
      !get_int(env, argv[2], "mtu", &options.mtu) || !get_bool(env, argv[3], "multiQueue", &options.multi_queue))
    return NULL;
  int error = 0;
  const char *syscall = "";
  int fd = open_in_namespace(path, open_device, &options, &error, &syscall);
  return fd < 0 ? throw_errno(env, error, syscall) : make_int(env, fd);
}

/* isTunAttached(fd): whether the device is still there. */
static napi_value is_tun_attached(napi_env env, napi_callback_info info) {
  napi_value argv[1], result = NULL;
  struct ifreq request = {0};
  int32_t fd;
  if (!get_args(env, info, 1, argv) || !get_int(env, argv[0], "fd", &fd)) return NULL;
  napi_get_boolean(env, ioctl(fd, TUNGETIFF, &request) == 0, &result);
  return result;
}

void register_tun(napi_env env, napi_value exports) {
  define(env, exports, "openTun", open_tun);
  define(env, exports, "isTunAttached", is_tun_attached);
}
