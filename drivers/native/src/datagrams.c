/* Bursts of datagrams: UDP, and raw IP protocol 50 whose payload starts with the SPI. */
#define _GNU_SOURCE
#include "addon.h"

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

union remote {
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
};

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

/* Raw IP packets taken at once: what the kernel's queue holds would fill many bursts, and each message costs its set-up. */
#define RAW_MESSAGES 128

/* Raw IP: each packet straight into its slot. Returns the burst's new count. */
static int32_t read_esp(const struct port *port, struct burst *burst, int32_t count) {
  struct mmsghdr messages[RAW_MESSAGES];
  struct iovec vectors[RAW_MESSAGES];
  union remote remotes[RAW_MESSAGES];
  _Alignas(struct cmsghdr) uint8_t controls[RAW_MESSAGES][READ_CONTROL_BYTES];
  /* A raw IPv4 packet starts that much earlier, so that its payload lies at the slot's usual place. */
  int32_t early = port->family == 4 ? IPV4_HEADER_BYTES : 0;
  int32_t free_slots = BURST_PACKETS - count < RAW_MESSAGES ? BURST_PACKETS - count : RAW_MESSAGES;
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
    int32_t i = count + k, length = (int32_t)messages[k].msg_len, segment = 0, traffic_class;
    int32_t header = header_bytes(port, vectors[k].iov_base, length);
    if (header < 0 || (messages[k].msg_hdr.msg_flags & MSG_TRUNC) != 0) header = length;
    read_control(&messages[k].msg_hdr, &traffic_class, &segment);
    fill_slot(burst, i, slot_start(i) - early + header, length - header, traffic_class);
    set_remote(burst, i, &remotes[k]);
    burst->port[i] = 0;
  }
  return count + received;
}

/* Datagrams that one super-packet brings at most (the kernel's own limit): so many rows are kept free for it. */
#define PARTS_LIMIT 128
/* Messages taken from the kernel at once. */
#define MESSAGES_LIMIT 32

/* Splits a message that lies in an area into rows; what is larger than the smallest slot becomes an empty one. */
static int32_t split(struct burst *burst, int32_t i, int32_t area, int32_t length, int32_t segment, int32_t traffic_class,
                     const union remote *remote) {
  for (int32_t position = 0; (position < length || length == 0) && i < BURST_PACKETS; position += segment) {
    int32_t part = length - position < segment ? length - position : segment;
    fill_slot(burst, i, area_start(area) + position, part <= LARGEST_READ ? part : 0, traffic_class);
    set_remote(burst, i++, remote);
    if (length == 0) break;
  }
  return i;
}

/* UDP: messages stay where the kernel put them, what it joined becomes a row per datagram. Returns the burst's new count. */
static int32_t read_udp(const struct port *port, struct burst *burst, int32_t count) {
  struct mmsghdr messages[MESSAGES_LIMIT];
  struct iovec vectors[MESSAGES_LIMIT];
  union remote remotes[MESSAGES_LIMIT];
  _Alignas(struct cmsghdr) uint8_t controls[MESSAGES_LIMIT][READ_CONTROL_BYTES];
  int32_t i = count, area = free_area(burst, count);
  for (;;) {
    int32_t room = (BURST_PACKETS - i) / PARTS_LIMIT, wanted = AREAS - area < room ? AREAS - area : room;
    if (wanted > MESSAGES_LIMIT) wanted = MESSAGES_LIMIT;
    if (wanted <= 0) return i;
    for (int32_t k = 0; k < wanted; k++) {
      vectors[k] = (struct iovec){burst->bytes + area_start(area + k), AREA_ROOM};
      messages[k].msg_hdr = (struct msghdr){.msg_name = &remotes[k],
                                            .msg_namelen = sizeof remotes[k],
                                            .msg_iov = &vectors[k],
                                            .msg_iovlen = 1,
                                            .msg_control = controls[k],
                                            .msg_controllen = READ_CONTROL_BYTES};
    }
    int32_t received = receive(port->fd, messages, wanted);
    for (int32_t k = 0; k < received; k++) {
      int32_t length = (int32_t)messages[k].msg_len, segment = length, traffic_class;
      read_control(&messages[k].msg_hdr, &traffic_class, &segment);
      i = split(burst, i, area + k, length, segment, traffic_class, &remotes[k]);
    }
    area += received;
    /* A batch that was not full was all there was. */
    if (received < wanted) return i;
  }
}

/* readDatagrams(fd, kind, family, memory, count): packets added. What is larger than a slot, or has no whole IP header,
 * becomes an empty packet: its reader counts it as malformed. */
static napi_value read_datagrams(napi_env env, napi_callback_info info) {
  napi_value argv[5];
  struct port port;
  struct burst *burst;
  int32_t count;
  if (!get_args(env, info, 5, argv) || !get_port(env, argv, &port) ||
      !get_burst(env, argv[3], argv[4], &burst, &count))
    return NULL;
  if (count == BURST_PACKETS) return make_int(env, 0);
  return make_int(env, (port.kind == PORT_ESP ? read_esp : read_udp)(&port, burst, count) - count);
}

/* ------------------------------------------------------------------------------------------------ writing */

#define WRITE_CONTROL_BYTES (CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint16_t)))

/* Runs of equal-sized packets to one remote leave as one segmented send: 44 packets for little more than one. A piece is
 * one packet, or as much of a row that is a run of datagrams as fits into a message. */
struct batch {
  struct mmsghdr messages[BURST_PACKETS];
  struct iovec pieces[BURST_PACKETS];
  int32_t rows[BURST_PACKETS];
  union remote remotes[BURST_PACKETS];
  _Alignas(struct cmsghdr) uint8_t controls[BURST_PACKETS][WRITE_CONTROL_BYTES];
  int32_t pieces_used;
  int32_t messages_used;
  /* Of the message that further pieces may join: its row, octets and length of a segment; not open = complete. */
  int32_t row, bytes, segment;
  bool open;
  /* Octets of the row at hand that former messages took. */
  int32_t progress;
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

static void start_message(struct batch *batch, const struct burst *burst, const struct port *port, int32_t i) {
  int32_t m = batch->messages_used++;
  struct msghdr *message = &batch->messages[m].msg_hdr;
  *message = (struct msghdr){.msg_name = &batch->remotes[m], .msg_iov = &batch->pieces[batch->pieces_used], .msg_iovlen = 1};
  message->msg_namelen = remote_of(burst, i, port, &batch->remotes[m]);
  message->msg_control = batch->controls[m];
  int tos = burst->mark[i] & 255;
  if (tos != 0)
    add_control(message, port->family == 4 ? IPPROTO_IP : IPPROTO_IPV6, port->family == 4 ? IP_TOS : IPV6_TCLASS, &tos,
                sizeof tos);
}

/* Octets that the open message takes of the `left` octets of row i, whose datagrams have `segment` octets; 0 = none. */
static int32_t joinable(const struct batch *batch, const struct burst *burst, const struct port *port, int32_t i,
                        int32_t segment, int32_t left) {
  if (!batch->open || port->kind != PORT_UDP || segment == 0 || !same_flow(burst, batch->row, i, port->family)) return 0;
  int32_t limit = SEGMENTS_LIMIT * batch->segment;
  if (limit > SEGMENTED_BYTES_LIMIT) limit = SEGMENTED_BYTES_LIMIT / batch->segment * batch->segment;
  /* A single shorter datagram may be the last one of a message. */
  if (segment != batch->segment) return left == segment && segment < batch->segment && batch->bytes < limit ? left : 0;
  int32_t room = limit - batch->bytes;
  return left < room ? left : room;
}

static void add_piece(struct batch *batch, struct burst *burst, int32_t i, int32_t start, int32_t bytes) {
  struct msghdr *message = &batch->messages[batch->messages_used - 1].msg_hdr;
  batch->pieces[batch->pieces_used] = (struct iovec){burst->bytes + start, (size_t)bytes};
  batch->rows[batch->pieces_used++] = i;
  message->msg_iovlen = (size_t)(&batch->pieces[batch->pieces_used] - message->msg_iov);
  batch->bytes += bytes;
  if (batch->segment == 0 || bytes % batch->segment != 0) batch->open = false;
}

/* Sizes of a segmented send are known when it is complete. */
static void end_message(struct batch *batch) {
  if (batch->messages_used == 0) return;
  struct msghdr *message = &batch->messages[batch->messages_used - 1].msg_hdr;
  uint16_t size = (uint16_t)batch->segment;
  if (batch->bytes > batch->segment) add_control(message, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size);
  if (message->msg_controllen == 0) message->msg_control = NULL;
}

/* Puts what is left of row i into messages; false when the batch is full. */
static bool add_row(struct batch *batch, struct burst *burst, const struct port *port, int32_t i) {
  int32_t length = burst->length[i], segment = burst->segment[i] > 0 ? burst->segment[i] : length;
  do {
    if (batch->pieces_used == BURST_PACKETS) return false;
    int32_t left = length - batch->progress, bytes = joinable(batch, burst, port, i, segment, left);
    if (bytes == 0) {
      end_message(batch);
      start_message(batch, burst, port, i);
      batch->row = i;
      batch->bytes = 0;
      batch->segment = segment;
      batch->open = true;
      bytes = joinable(batch, burst, port, i, segment, left);
      /* Raw IP has no segmented sends. */
      if (bytes == 0) bytes = left < segment ? left : segment;
    }
    add_piece(batch, burst, i, burst->offset[i] + batch->progress, bytes);
    batch->progress += bytes;
  } while (batch->progress < length);
  batch->progress = 0;
  return true;
}

static void refuse(struct burst *burst, int32_t i, int error) {
  burst->next[i] = NEXT_DROP;
  burst->reason[i] = -error;
}

/* Collects the selected rows from `from` on; returns the first one that found no room. */
static int32_t gather(struct batch *batch, struct burst *burst, int32_t from, int32_t count, int32_t select,
                      const struct port *port) {
  int32_t i = from;
  bool resumed = batch->progress > 0;
  batch->pieces_used = batch->messages_used = 0;
  batch->open = false;
  for (; i < count; i++, resumed = false) {
    if (burst->next[i] != select && !resumed) continue;
    if (!in_arena(burst->offset[i], burst->length[i]) || burst->segment[i] < 0) refuse(burst, i, EFAULT);
    else if (burst->family[i] != port->family) refuse(burst, i, EAFNOSUPPORT);
    else if (!add_row(batch, burst, port, i)) break;
  }
  end_message(batch);
  return i;
}

/* A row is done when all of its pieces went; the first error of any of them is the row's. */
static void settle(struct burst *burst, int32_t i, int error) {
  if (error == 0) {
    if (burst->next[i] != NEXT_DROP) burst->next[i] = NEXT_DONE;
  } else if (burst->next[i] != NEXT_DROP) {
    refuse(burst, i, error);
  }
}

static int send_one(int fd, const struct msghdr *message) {
  ssize_t sent;
  do sent = sendmsg(fd, message, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent < 0 ? errno : 0;
}

/* A segmented send that the kernel refuses is tried again packet by packet: the path may take the smaller ones, and a
 * device without checksum offload refuses every segmented send. */
static void send_singly(int fd, struct batch *batch, struct burst *burst, struct msghdr *message, int32_t at, int32_t size) {
  const struct iovec *pieces = message->msg_iov;
  size_t count = message->msg_iovlen;
  struct iovec datagram;
  message->msg_controllen -= CMSG_SPACE(sizeof(uint16_t));
  if (message->msg_controllen == 0) message->msg_control = NULL;
  message->msg_iov = &datagram;
  message->msg_iovlen = 1;
  for (size_t p = 0; p < count; p++) {
    for (size_t position = 0; position < pieces[p].iov_len; position += (size_t)size) {
      size_t left = pieces[p].iov_len - position;
      datagram = (struct iovec){(uint8_t *)pieces[p].iov_base + position, left < (size_t)size ? left : (size_t)size};
      settle(burst, batch->rows[at + (int32_t)p], send_one(fd, message));
    }
  }
}

static bool is_segmented(const struct msghdr *message, int32_t *size) {
  for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control != NULL; control = CMSG_NXTHDR((struct msghdr *)message, control)) {
    if (control->cmsg_level != IPPROTO_UDP || control->cmsg_type != UDP_SEGMENT) continue;
    uint16_t value;
    memcpy(&value, CMSG_DATA(control), sizeof value);
    *size = value;
    return true;
  }
  return false;
}

static void send_batch(int fd, struct batch *batch, struct burst *burst) {
  int32_t m = 0, at = 0;
  while (m < batch->messages_used) {
    int done = sendmmsg(fd, &batch->messages[m], (unsigned)(batch->messages_used - m), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (done < 0 && errno == EINTR) continue;
    int error = done < 0 ? errno : 0;
    for (int k = 0; k < done; k++, m++)
      for (size_t p = 0; p < batch->messages[m].msg_hdr.msg_iovlen; p++) settle(burst, batch->rows[at++], 0);
    if (done > 0) continue;
    struct msghdr *refused = &batch->messages[m++].msg_hdr;
    int32_t pieces = (int32_t)refused->msg_iovlen, size;
    /* Full queues are no reason to try forty times. */
    bool full = error == EAGAIN || error == ENOBUFS || error == ENOMEM;
    if (!full && is_segmented(refused, &size)) send_singly(fd, batch, burst, refused, at, size);
    else
      for (int32_t p = 0; p < pieces; p++) settle(burst, batch->rows[at + p], error);
    at += pieces;
  }
}

/* writeDatagrams(fd, kind, family, memory, count, select): rows sent. */
static napi_value write_datagrams(napi_env env, napi_callback_info info) {
  napi_value argv[6];
  struct port port;
  struct burst *burst;
  int32_t count, select;
  if (!get_args(env, info, 6, argv) || !get_port(env, argv, &port) ||
      !get_burst(env, argv[3], argv[4], &burst, &count) || !get_int(env, argv[5], "select", &select))
    return NULL;
  struct batch batch;
  batch.progress = 0;
  bool selected[BURST_PACKETS];
  for (int32_t i = 0; i < count; i++) selected[i] = burst->next[i] == select;
  for (int32_t from = 0; from < count;) {
    from = gather(&batch, burst, from, count, select, &port);
    send_batch(port.fd, &batch, burst);
  }
  int32_t sent = 0;
  for (int32_t i = 0; i < count; i++) sent += selected[i] && burst->next[i] == NEXT_DONE;
  return make_int(env, sent);
}

void register_datagrams(napi_env env, napi_value exports) {
  define(env, exports, "readDatagrams", read_datagrams);
  define(env, exports, "writeDatagrams", write_datagrams);
}
