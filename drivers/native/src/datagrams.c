/* Bursts of datagrams: UDP, and raw IP protocol 50 whose payload starts with the SPI. */
#define _GNU_SOURCE
#include "staging.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <string.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
/* Limits of one segmented send: the kernel's own count, and the largest UDP payload with room for IPv6's header. */
#define SEGMENTS_LIMIT 64
#define SEGMENTED_BYTES_LIMIT 65000
#define IPV4_HEADER_BYTES 20

/* The kinds of drivers/native/datagram.ts. */
enum port_kind { PORT_UDP = 0, PORT_ESP = 1 };

struct port {
  int32_t fd;
  int32_t kind;
  int32_t family;
};

static bool get_port(napi_env env, napi_value *argv, struct port *port) {
  return get_int(env, argv[0], "fd", &port->fd) && get_int(env, argv[1], "kind", &port->kind) &&
         get_int(env, argv[2], "family", &port->family);
}

/* ------------------------------------------------------------------------------------------------ reading */

#define READ_CONTROL_BYTES (2 * CMSG_SPACE(sizeof(int)))

/* What the kernel says beside a datagram: its traffic class, and the length of the parts that it was joined from. */
static void read_control(struct msghdr *header, int32_t *traffic_class, int32_t *segment) {
  *traffic_class = 0;
  for (struct cmsghdr *control = CMSG_FIRSTHDR(header); control != NULL; control = CMSG_NXTHDR(header, control)) {
    int value = 0;
    size_t length = control->cmsg_len - CMSG_LEN(0);
    memcpy(&value, CMSG_DATA(control), length < sizeof value ? length : sizeof value);
    if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_TOS) *traffic_class = value & 255;
    if (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_TCLASS) *traffic_class = value & 255;
    if (control->cmsg_level == IPPROTO_UDP && control->cmsg_type == UDP_GRO && value > 0) *segment = value;
  }
}

static void set_remote(struct burst *burst, int32_t i, const union remote *remote) {
  bool v6 = remote->v4.sin_family == AF_INET6;
  burst->family[i] = v6 ? 6 : 4;
  burst->port[i] = ntohs(v6 ? remote->v6.sin6_port : remote->v4.sin_port);
  memcpy(burst->address[i], v6 ? (const void *)&remote->v6.sin6_addr : (const void *)&remote->v4.sin_addr, v6 ? 16 : 4);
}

/* Octets of IP header that a raw IPv4 socket delivers in front of the payload; -1 when they do not fit the packet. */
static int32_t header_bytes(const struct port *port, const uint8_t *packet, int32_t length) {
  if (port->kind != PORT_ESP || port->family != 4) return 0;
  int32_t header = length < IPV4_HEADER_BYTES ? IPV4_HEADER_BYTES : (packet[0] & 15) * 4;
  return header <= length ? header : -1;
}

static void fill_slot(struct burst *burst, int32_t i, int32_t start, int32_t length, int32_t traffic_class) {
  burst->offset[i] = start;
  burst->length[i] = length;
  burst->segment[i] = 0;
  burst->mark[i] = traffic_class;
}

static int receive(int32_t fd, struct mmsghdr *messages, int32_t count) {
  int received;
  do received = recvmmsg(fd, messages, (unsigned)count, MSG_DONTWAIT, NULL);
  while (received < 0 && errno == EINTR);
  return received < 0 ? 0 : received;
}

/* Raw IP: each packet straight into its slot. Returns the burst's new count. */
static int32_t read_esp(const struct port *port, struct burst *burst, int32_t count) {
  struct mmsghdr messages[BURST_PACKETS];
  struct iovec vectors[BURST_PACKETS];
  union remote remotes[BURST_PACKETS];
  _Alignas(struct cmsghdr) uint8_t controls[BURST_PACKETS][READ_CONTROL_BYTES];
  /* A raw IPv4 packet starts that much earlier, so that its payload lies at the slot's usual place. */
  int32_t early = port->family == 4 ? IPV4_HEADER_BYTES : 0;
  int32_t free_slots = BURST_PACKETS - count, i = count;
  for (int32_t k = 0; k < free_slots; k++) {
    vectors[k] = (struct iovec){burst->bytes + slot_start(count + k) - early, (size_t)(LARGEST_READ + early)};
    messages[k].msg_hdr = (struct msghdr){.msg_name = &remotes[k],
                                          .msg_namelen = sizeof remotes[k],
                                          .msg_iov = &vectors[k],
                                          .msg_iovlen = 1,
                                          .msg_control = controls[k],
                                          .msg_controllen = READ_CONTROL_BYTES};
  }
  int received = receive(port->fd, messages, free_slots);
  for (int32_t k = 0; k < received; k++) {
    int32_t length = (int32_t)messages[k].msg_len, segment = 0, traffic_class;
    int32_t header = header_bytes(port, vectors[k].iov_base, length);
    if (header < 0 || (messages[k].msg_hdr.msg_flags & MSG_TRUNC) != 0) continue;
    int32_t start = slot_start(i) - early + header;
    /* A packet that was left out moves its followers one slot down. */
    if (i != count + k) memmove(burst->bytes + start, (uint8_t *)vectors[k].iov_base + header, (size_t)(length - header));
    read_control(&messages[k].msg_hdr, &traffic_class, &segment);
    fill_slot(burst, i, start, length - header, traffic_class);
    set_remote(burst, i, &remotes[k]);
    burst->port[i] = 0;
    i++;
  }
  return i;
}

static bool stage(struct staging *staging) {
  struct mmsghdr messages[STAGED_MESSAGES];
  struct iovec vectors[STAGED_MESSAGES];
  _Alignas(struct cmsghdr) uint8_t controls[STAGED_MESSAGES][READ_CONTROL_BYTES];
  for (int32_t k = 0; k < STAGED_MESSAGES; k++) {
    vectors[k] = (struct iovec){staging->bytes[k], STAGED_BYTES};
    messages[k].msg_hdr = (struct msghdr){.msg_name = &staging->staged[k].remote,
                                          .msg_namelen = sizeof(union remote),
                                          .msg_iov = &vectors[k],
                                          .msg_iovlen = 1,
                                          .msg_control = controls[k],
                                          .msg_controllen = READ_CONTROL_BYTES};
  }
  staging->messages = receive(staging->fd, messages, STAGED_MESSAGES);
  staging->current = staging->position = 0;
  for (int32_t k = 0; k < staging->messages; k++) {
    struct staged *staged = &staging->staged[k];
    staged->length = staged->segment = (int32_t)messages[k].msg_len;
    read_control(&messages[k].msg_hdr, &staged->traffic_class, &staged->segment);
  }
  return staging->messages > 0;
}

/* Moves the next part of the staged messages into slot i; false when it was left out because no slot holds it. */
static bool unstage(struct staging *staging, struct burst *burst, int32_t i) {
  const struct staged *staged = &staging->staged[staging->current];
  const uint8_t *from = staging->bytes[staging->current] + staging->position;
  int32_t left = staged->length - staging->position, length = left < staged->segment ? left : staged->segment;
  staging->position += length;
  if (staging->position >= staged->length) {
    staging->current++;
    staging->position = 0;
  }
  if (length > LARGEST_READ) return false;
  memcpy(burst->bytes + slot_start(i), from, (size_t)length);
  fill_slot(burst, i, slot_start(i), length, staged->traffic_class);
  set_remote(burst, i, &staged->remote);
  return true;
}

/* UDP: what the kernel joined is split again. Returns the burst's new count. */
static int32_t read_udp(struct staging *staging, struct burst *burst, int32_t count) {
  int32_t i = count;
  while (i < BURST_PACKETS) {
    if (staging->current >= staging->messages) {
      /* A batch that was not full was all there was. */
      bool drained = i > count && staging->messages < STAGED_MESSAGES;
      if (drained || !stage(staging)) break;
    }
    i += unstage(staging, burst, i);
  }
  return i;
}

/* readDatagrams(fd, kind, family, memory, count): packets added. What is larger than a slot is left out. */
static napi_value read_datagrams(napi_env env, napi_callback_info info) {
  napi_value argv[5];
  struct port port;
  struct burst *burst;
  int32_t count;
  if (!get_args(env, info, 5, argv) || !get_port(env, argv, &port) ||
      !get_burst(env, argv[3], argv[4], &burst, &count))
    return NULL;
  if (count == BURST_PACKETS) return make_int(env, 0);
  if (port.kind == PORT_ESP) return make_int(env, read_esp(&port, burst, count) - count);
  struct staging *staging = staging_of(addon_state(env), port.fd);
  return make_int(env, staging == NULL ? 0 : read_udp(staging, burst, count) - count);
}

/* ------------------------------------------------------------------------------------------------ writing */

#define WRITE_CONTROL_BYTES (CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint16_t)))

/* Runs of equal-sized packets to one remote leave as one segmented send: 44 packets for little more than one. */
struct batch {
  struct mmsghdr messages[BURST_PACKETS];
  struct iovec vectors[BURST_PACKETS];
  int32_t indices[BURST_PACKETS];
  union remote remotes[BURST_PACKETS];
  _Alignas(struct cmsghdr) uint8_t controls[BURST_PACKETS][WRITE_CONTROL_BYTES];
  int32_t packets;
  int32_t messages_used;
};

static socklen_t remote_of(const struct burst *burst, int32_t i, const struct port *port, union remote *remote) {
  uint16_t number = port->kind == PORT_ESP ? 0 : htons((uint16_t)burst->port[i]);
  memset(remote, 0, sizeof *remote);
  if (port->family == 4) {
    remote->v4.sin_family = AF_INET;
    remote->v4.sin_port = number;
    memcpy(&remote->v4.sin_addr, burst->address[i], 4);
    return sizeof remote->v4;
  }
  remote->v6.sin6_family = AF_INET6;
  remote->v6.sin6_port = number;
  memcpy(&remote->v6.sin6_addr, burst->address[i], 16);
  return sizeof remote->v6;
}

static void add_control(struct msghdr *header, int level, int type, const void *value, size_t length) {
  struct cmsghdr *control = (struct cmsghdr *)((uint8_t *)header->msg_control + header->msg_controllen);
  control->cmsg_level = level;
  control->cmsg_type = type;
  control->cmsg_len = CMSG_LEN(length);
  memcpy(CMSG_DATA(control), value, length);
  header->msg_controllen += CMSG_SPACE(length);
}

static bool same_flow(const struct burst *burst, int32_t a, int32_t b, int32_t family) {
  return burst->port[a] == burst->port[b] && burst->mark[a] == burst->mark[b] &&
         memcmp(burst->address[a], burst->address[b], family == 4 ? 4 : 16) == 0;
}

/* Whether packet `i` may follow as a further segment of `last`: only the final segment may be shorter. */
static bool follows(const struct burst *burst, const struct port *port, const struct msghdr *message, int32_t first,
                    int32_t last, int32_t i) {
  int32_t size = burst->length[first], segments = (int32_t)message->msg_iovlen;
  return port->kind == PORT_UDP && size > 0 && segments < SEGMENTS_LIMIT && burst->length[last] == size &&
         burst->length[i] > 0 && burst->length[i] <= size &&
         (segments + 1) * (int64_t)size <= SEGMENTED_BYTES_LIMIT && same_flow(burst, first, i, port->family);
}

static void start_message(struct batch *batch, const struct burst *burst, const struct port *port, int32_t i) {
  int32_t m = batch->messages_used++;
  struct msghdr *message = &batch->messages[m].msg_hdr;
  *message = (struct msghdr){.msg_name = &batch->remotes[m], .msg_iov = &batch->vectors[batch->packets], .msg_iovlen = 1};
  message->msg_namelen = remote_of(burst, i, port, &batch->remotes[m]);
  message->msg_control = batch->controls[m];
  int tos = burst->mark[i] & 255;
  if (tos != 0)
    add_control(message, port->family == 4 ? IPPROTO_IP : IPPROTO_IPV6, port->family == 4 ? IP_TOS : IPV6_TCLASS, &tos,
                sizeof tos);
}

static void gather(struct batch *batch, struct burst *burst, int32_t count, int32_t select, const struct port *port) {
  int32_t first = -1, last = -1;
  batch->packets = batch->messages_used = 0;
  for (int32_t i = 0; i < count; i++) {
    if (burst->next[i] != select) continue;
    int error = !in_arena(burst->offset[i], burst->length[i]) ? EFAULT : burst->family[i] != port->family ? EAFNOSUPPORT : 0;
    if (error != 0) {
      burst->next[i] = NEXT_DROP;
      burst->reason[i] = -error;
      continue;
    }
    struct msghdr *open = first < 0 ? NULL : &batch->messages[batch->messages_used - 1].msg_hdr;
    if (open != NULL && follows(burst, port, open, first, last, i)) {
      open->msg_iovlen++;
    } else {
      start_message(batch, burst, port, i);
      first = i;
    }
    last = i;
    batch->vectors[batch->packets] = (struct iovec){burst->bytes + burst->offset[i], (size_t)burst->length[i]};
    batch->indices[batch->packets++] = i;
  }
  for (int32_t m = 0; m < batch->messages_used; m++) {
    struct msghdr *message = &batch->messages[m].msg_hdr;
    uint16_t size = (uint16_t)message->msg_iov[0].iov_len;
    if (message->msg_iovlen > 1) add_control(message, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size);
    if (message->msg_controllen == 0) message->msg_control = NULL;
  }
}

static int32_t settle(struct burst *burst, int32_t i, int error) {
  burst->next[i] = error == 0 ? NEXT_DONE : NEXT_DROP;
  if (error != 0) burst->reason[i] = -error;
  return error == 0;
}

static int send_one(int fd, const struct msghdr *message) {
  ssize_t sent;
  do sent = sendmsg(fd, message, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent < 0 ? errno : 0;
}

/* A segmented send that the kernel refuses is tried again packet by packet: the path may take the smaller ones, and a
 * device without checksum offload refuses every segmented send. */
static int32_t send_singly(int fd, struct batch *batch, struct burst *burst, struct msghdr *message, int32_t at) {
  struct iovec *vectors = message->msg_iov;
  int32_t segments = (int32_t)message->msg_iovlen, sent = 0;
  message->msg_iovlen = 1;
  message->msg_controllen -= CMSG_SPACE(sizeof(uint16_t));
  if (message->msg_controllen == 0) message->msg_control = NULL;
  for (int32_t s = 0; s < segments; s++) {
    message->msg_iov = &vectors[s];
    sent += settle(burst, batch->indices[at + s], send_one(fd, message));
  }
  return sent;
}

static int32_t send_batch(int fd, struct batch *batch, struct burst *burst) {
  int32_t m = 0, at = 0, sent = 0;
  while (m < batch->messages_used) {
    int done = sendmmsg(fd, &batch->messages[m], (unsigned)(batch->messages_used - m), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (done < 0 && errno == EINTR) continue;
    int error = done < 0 ? errno : 0;
    for (int k = 0; k < done; k++, m++)
      for (size_t s = 0; s < batch->messages[m].msg_hdr.msg_iovlen; s++)
        sent += settle(burst, batch->indices[at++], 0);
    if (done > 0) continue;
    struct msghdr *refused = &batch->messages[m++].msg_hdr;
    int32_t segments = (int32_t)refused->msg_iovlen;
    sent += segments > 1 ? send_singly(fd, batch, burst, refused, at) : settle(burst, batch->indices[at], error);
    at += segments;
  }
  return sent;
}

/* writeDatagrams(fd, kind, family, memory, count, select): packets sent. */
static napi_value write_datagrams(napi_env env, napi_callback_info info) {
  napi_value argv[6];
  struct port port;
  struct burst *burst;
  int32_t count, select;
  if (!get_args(env, info, 6, argv) || !get_port(env, argv, &port) ||
      !get_burst(env, argv[3], argv[4], &burst, &count) || !get_int(env, argv[5], "select", &select))
    return NULL;
  struct batch batch;
  gather(&batch, burst, count, select, &port);
  return make_int(env, send_batch(port.fd, &batch, burst));
}

void register_datagrams(napi_env env, napi_value exports) {
  define(env, exports, "readDatagrams", read_datagrams);
  define(env, exports, "writeDatagrams", write_datagrams);
}
