/* Sockets opened inside a network namespace: burst ports and what node:net and node:dgram take over. */
#define _GNU_SOURCE
#include "addon.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef UDP_NO_CHECK6_RX
#define UDP_NO_CHECK6_RX 102
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#define PROTOCOL_ESP 50
/* Room for some milliseconds of line rate while the forwarder is busy elsewhere. */
#define PORT_BUFFER_BYTES (8 << 20)
#define LISTEN_BACKLOG 128

/* The kinds of drivers/native/addon.ts. */
enum socket_kind {
  PORT_UDP = 0,
  PORT_ESP = 1,
  CONTROL_UDP = 2,
  CONTROL_LISTENER = 3,
  CONTROL_STREAM = 4,
  PORT_UDP_MEMBER = 5,
  SOCKET_KINDS
};

struct socket_options {
  enum socket_kind kind;
  bool bind;
  struct sockaddr_storage local;
  socklen_t local_length;
};

static bool is_port(enum socket_kind kind) {
  return kind == PORT_UDP || kind == PORT_UDP_MEMBER || kind == PORT_ESP;
}

static int set(int fd, int level, int option, int value) {
  return setsockopt(fd, level, option, &value, sizeof value);
}

static void set_buffer(int fd, int forced, int limited) {
  if (set(fd, SOL_SOCKET, forced, PORT_BUFFER_BYTES) != 0) set(fd, SOL_SOCKET, limited, PORT_BUFFER_BYTES);
}

/* Tunnels never fragment: DF is set and EMSGSIZE tells of a smaller path. */
static int set_port_options(int fd, int family, enum socket_kind kind) {
  /* The kernel may hand over what it received joined; kernels before 5.0 cannot, and then do not. */
  if (kind != PORT_ESP) set(fd, IPPROTO_UDP, UDP_GRO, 1);
  set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF);
  set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
  if (family == AF_INET) {
    if (set(fd, IPPROTO_IP, IP_RECVTOS, 1) != 0) return -1;
    return set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
  }
  if (set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) != 0) return -1;
  /* RFC 6935: tunnels over IPv6 may use zero checksums. */
  if (kind != PORT_ESP && set(fd, IPPROTO_UDP, UDP_NO_CHECK6_RX, 1) != 0) return -1;
  return set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO);
}

static int create(const struct socket_options *options) {
  int family = options->local.ss_family;
  switch (options->kind) {
    case PORT_UDP:
    case PORT_UDP_MEMBER:
      return socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    case PORT_ESP:
      return socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, PROTOCOL_ESP);
    case CONTROL_UDP:
      return socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    default:
      return socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  }
}

static int prepare(int fd, const struct socket_options *options, const char **syscall) {
  int family = options->local.ss_family;
  *syscall = "setsockopt";
  if (family == AF_INET6 && options->kind != PORT_ESP && set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) != 0) return -1;
  if (options->kind == CONTROL_LISTENER && set(fd, SOL_SOCKET, SO_REUSEADDR, 1) != 0) return -1;
  /* One of several sockets that share an address and port: the kernel chooses among them, or steer() does. */
  if (options->kind == PORT_UDP_MEMBER && set(fd, SOL_SOCKET, SO_REUSEPORT, 1) != 0) return -1;
  if (is_port(options->kind) && set_port_options(fd, family, options->kind) != 0) return -1;
  *syscall = "bind";
  if (options->bind && bind(fd, (const struct sockaddr *)&options->local, options->local_length) != 0) return -1;
  *syscall = "listen";
  return options->kind == CONTROL_LISTENER ? listen(fd, LISTEN_BACKLOG) : 0;
}

static int open_socket_here(void *arguments, int *error, const char **syscall) {
  const struct socket_options *options = arguments;
  *syscall = "socket";
  int fd = create(options);
  if (fd >= 0 && prepare(fd, options, syscall) == 0) return fd;
  *error = errno;
  if (fd >= 0) close(fd);
  return -1;
}

/* openSocket(namespace, kind, address, port, bind): fd. Without `bind`, the address only names the family. */
static napi_value open_socket(napi_env env, napi_callback_info info) {
  napi_value argv[5];
  char path[256];
  int32_t kind;
  struct socket_options options = {0};
  if (!get_args(env, info, 5, argv) || !get_text(env, argv[0], "namespace", true, path, sizeof path) ||
      !get_int(env, argv[1], "kind", &kind) ||
      !get_address(env, argv[2], argv[3], &options.local, &options.local_length) ||
      !get_bool(env, argv[4], "bind", &options.bind))
    return NULL;
  if (kind < 0 || kind >= SOCKET_KINDS) {
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "kind is not one of the socket kinds");
    return NULL;
  }
  options.kind = (enum socket_kind)kind;
  int error = 0;
  const char *syscall = "";
  int fd = open_in_namespace(path, open_socket_here, &options, &error, &syscall);
  return fd < 0 ? throw_errno(env, error, syscall) : make_int(env, fd);
}

/* localPort(fd): the port that bind chose. */
static napi_value local_port(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  int32_t fd;
  if (!get_args(env, info, 1, argv) || !get_int(env, argv[0], "fd", &fd)) return NULL;
  struct sockaddr_storage name;
  socklen_t length = sizeof name;
  if (getsockname(fd, (struct sockaddr *)&name, &length) != 0) return throw_errno(env, errno, "getsockname");
  if (name.ss_family == AF_INET) return make_int(env, ntohs(((struct sockaddr_in *)&name)->sin_port));
  return make_int(env, ntohs(((struct sockaddr_in6 *)&name)->sin6_port));
}

/* steer(fd, program): a classic BPF program, 8 octets per instruction as struct sock_filter has them, chooses the socket
 * for each datagram that comes to the group of `fd`, by the order in which the sockets were bound. */
static napi_value steer(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  int32_t fd;
  uint8_t *program;
  size_t length;
  if (!get_args(env, info, 2, argv) || !get_int(env, argv[0], "fd", &fd) ||
      !get_bytes(env, argv[1], "program", &program, &length))
    return NULL;
  struct sock_filter filter[BPF_MAXINSNS];
  if (length == 0 || length % sizeof *filter != 0 || length > sizeof filter) {
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "program must be 1 to 4096 instructions of 8 octets");
    return NULL;
  }
  memcpy(filter, program, length);
  struct sock_fprog attached = {.len = (unsigned short)(length / sizeof *filter), .filter = filter};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &attached, sizeof attached) != 0)
    return throw_errno(env, errno, "SO_ATTACH_REUSEPORT_CBPF");
  return undefined(env);
}

void register_sockets(napi_env env, napi_value exports) {
  define(env, exports, "openSocket", open_socket);
  define(env, exports, "localPort", local_port);
  define(env, exports, "steer", steer);
}
