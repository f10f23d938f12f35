/* Writing: packets of one flow of TCP or UDP that follow each other become one super-packet, so that the host's stack
 * handles one instead of forty. Only what is equal in every header field but length, id and checksum is joined. */
#define _GNU_SOURCE
#include "tun-bursts.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "checksum.h"

#define PARTS_LIMIT 64
#define LARGEST_PACKET 65535
/* The longest headers that are joined: IPv6 without extensions and TCP with all its options. */
#define LARGEST_HEADER (IPV6_HEADER_BYTES + 60)

/* A packet that may be part of a run. */
struct segment {
  const uint8_t *packet;
  int32_t length;
  int32_t transport;
  int32_t header;
  uint8_t protocol;
};

struct run {
  struct segment first;
  int32_t indices[PARTS_LIMIT];
  int32_t parts;
  int32_t payload_bytes;
  uint32_t next_sequence;
  /* A short or pushed segment ends the run. */
  bool closed;
  bool first_checked;
};

struct writer {
  int32_t fd;
  struct burst *burst;
  int32_t sent;
  struct run run;
};

static int write_vectors(int32_t fd, const struct iovec *vectors, int count) {
  ssize_t written;
  do written = writev(fd, vectors, count);
  while (written < 0 && errno == EINTR);
  return written < 0 ? errno : 0;
}

static void write_one(struct writer *writer, int32_t i) {
  struct burst *burst = writer->burst;
  struct virtio_net_hdr header = {0};
  int error = EFAULT;
  if (in_arena(burst->offset[i], burst->length[i])) {
    struct iovec vectors[2] = {{&header, sizeof header}, {burst->bytes + burst->offset[i], (size_t)burst->length[i]}};
    error = write_vectors(writer->fd, vectors, 2);
  }
  burst->next[i] = error == 0 ? NEXT_DONE : NEXT_DROP;
  if (error != 0) burst->reason[i] = -error;
  writer->sent += error == 0;
}

/* TCP data: no options of IP, no flags but ACK and PSH. */
static bool parse_tcp(struct segment *segment) {
  const uint8_t *tcp = segment->packet + segment->transport;
  if (segment->transport + TCP_HEADER_BYTES > segment->length) return false;
  int32_t tcp_bytes = (tcp[TCP_DATA_OFFSET] >> 4) * 4;
  segment->header = segment->transport + tcp_bytes;
  return tcp_bytes >= TCP_HEADER_BYTES && segment->header < segment->length && (tcp[TCP_DATA_OFFSET] & 15) == 0 &&
         (tcp[TCP_FLAGS] & ~TCP_PSH) == TCP_ACK;
}

/* UDP with a checksum: without one (RFC 768), joining would give it one. */
static bool parse_udp(struct segment *segment) {
  const uint8_t *udp = segment->packet + segment->transport;
  segment->header = segment->transport + UDP_HEADER_BYTES;
  return segment->header < segment->length && (int32_t)read16(udp + UDP_LENGTH) == segment->length - segment->transport &&
         read16(udp + UDP_CHECKSUM) != 0;
}

/* Whether packet i may be joined with others: whole, and no fragment. */
static bool parse(const struct burst *burst, int32_t i, struct segment *segment) {
  int32_t length = burst->length[i];
  if (!in_arena(burst->offset[i], length) || length < IPV4_HEADER_BYTES + UDP_HEADER_BYTES) return false;
  const uint8_t *packet = burst->bytes + burst->offset[i];
  segment->packet = packet;
  segment->length = length;
  if (packet[0] == 0x45) {
    if ((int32_t)read16(packet + IPV4_TOTAL_LENGTH) != length || (read16(packet + IPV4_FRAGMENT) & 0x3fff) != 0) return false;
    segment->transport = IPV4_HEADER_BYTES;
    segment->protocol = packet[IPV4_PROTOCOL];
  } else if (packet[0] >> 4 == 6 && length >= IPV6_HEADER_BYTES) {
    if ((int32_t)read16(packet + IPV6_PAYLOAD_LENGTH) != length - IPV6_HEADER_BYTES) return false;
    segment->transport = IPV6_HEADER_BYTES;
    segment->protocol = packet[IPV6_NEXT_HEADER];
  } else {
    return false;
  }
  if (segment->protocol == PROTOCOL_TCP) return parse_tcp(segment);
  return segment->protocol == PROTOCOL_UDP && parse_udp(segment);
}

/* A super-packet gets a fresh checksum, which would hide a broken one. */
static bool checksum_holds(const struct segment *segment) {
  const uint8_t *transport = segment->packet + segment->transport;
  int32_t bytes = segment->length - segment->transport;
  return checksum_finish(checksum_add(checksum_pseudo(segment->packet, segment->protocol, bytes), transport, bytes)) == 0;
}

static bool same(const uint8_t *a, const uint8_t *b, int32_t from, int32_t to) {
  return memcmp(a + from, b + from, (size_t)(to - from)) == 0;
}

static bool same_flow(const struct segment *a, const struct segment *b) {
  if (a->header != b->header || a->transport != b->transport || a->protocol != b->protocol) return false;
  bool ip = a->transport == IPV4_HEADER_BYTES
                ? same(a->packet, b->packet, 0, 2) && same(a->packet, b->packet, 6, 10) && same(a->packet, b->packet, 12, 20)
                : same(a->packet, b->packet, 0, 4) && same(a->packet, b->packet, 6, IPV6_HEADER_BYTES);
  const uint8_t *x = a->packet + a->transport, *y = b->packet + b->transport;
  if (a->protocol == PROTOCOL_UDP) return ip && same(x, y, 0, UDP_LENGTH);
  return ip && same(x, y, 0, TCP_SEQUENCE) && same(x, y, TCP_ACKNOWLEDGEMENT, TCP_FLAGS) &&
         same(x, y, TCP_WINDOW, TCP_CHECKSUM) && same(x, y, TCP_CHECKSUM + 2, a->header - a->transport);
}

/* 0 for UDP. */
static uint32_t sequence_of(const struct segment *segment) {
  return segment->protocol == PROTOCOL_TCP ? read32(segment->packet + segment->transport + TCP_SEQUENCE) : 0;
}

static bool pushed(const struct segment *segment) {
  return segment->protocol == PROTOCOL_TCP && (segment->packet[segment->transport + TCP_FLAGS] & TCP_PSH) != 0;
}

static void begin(struct run *run, const struct segment *segment, int32_t i) {
  run->first = *segment;
  run->indices[0] = i;
  run->parts = 1;
  run->payload_bytes = segment->length - segment->header;
  run->next_sequence = sequence_of(segment) + (segment->protocol == PROTOCOL_TCP ? (uint32_t)run->payload_bytes : 0);
  run->closed = pushed(segment);
  run->first_checked = false;
}

static bool append(struct run *run, const struct segment *segment, int32_t i) {
  int32_t payload = segment->length - segment->header, size = run->first.length - run->first.header;
  if (run->parts == 0 || run->closed || run->parts == PARTS_LIMIT || payload > size ||
      run->first.header + run->payload_bytes + payload > LARGEST_PACKET ||
      sequence_of(segment) != run->next_sequence || !same_flow(&run->first, segment) || !checksum_holds(segment))
    return false;
  if (!run->first_checked) {
    if (!checksum_holds(&run->first)) return false;
    run->first_checked = true;
  }
  run->indices[run->parts++] = i;
  run->payload_bytes += payload;
  if (segment->protocol == PROTOCOL_TCP) run->next_sequence += (uint32_t)payload;
  run->closed = payload < size || pushed(segment);
  return true;
}

static int32_t checksum_offset(const struct segment *segment) {
  return segment->protocol == PROTOCOL_TCP ? TCP_CHECKSUM : UDP_CHECKSUM;
}

/* The first segment's headers, for all of the run. */
static void join_headers(const struct run *run, bool push, uint8_t *headers) {
  const struct segment *first = &run->first;
  int32_t transport_bytes = first->header - first->transport + run->payload_bytes;
  uint8_t *transport = headers + first->transport;
  memcpy(headers, first->packet, (size_t)first->header);
  if (first->transport == IPV4_HEADER_BYTES) {
    write16(headers + 2, (uint32_t)(first->header + run->payload_bytes));
    memset(headers + 10, 0, 2);
    uint16_t sum = checksum_finish(checksum_add(0, headers, IPV4_HEADER_BYTES));
    memcpy(headers + 10, &sum, 2);
  } else {
    write16(headers + 4, (uint32_t)transport_bytes);
  }
  if (push) transport[TCP_FLAGS] |= TCP_PSH;
  if (first->protocol == PROTOCOL_UDP) write16(transport + UDP_LENGTH, (uint32_t)transport_bytes);
  uint16_t partial = checksum_fold(checksum_pseudo(headers, first->protocol, transport_bytes));
  memcpy(transport + checksum_offset(first), &partial, 2);
}

static int write_run(const struct writer *writer) {
  const struct run *run = &writer->run;
  const struct burst *burst = writer->burst;
  const struct segment *first = &run->first;
  uint8_t headers[LARGEST_HEADER];
  struct iovec vectors[PARTS_LIMIT + 2];
  struct virtio_net_hdr header = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                  .gso_type = first->protocol == PROTOCOL_UDP          ? VIRTIO_NET_HDR_GSO_UDP_L4
                                              : first->transport == IPV4_HEADER_BYTES ? VIRTIO_NET_HDR_GSO_TCPV4
                                                                                      : VIRTIO_NET_HDR_GSO_TCPV6,
                                  .hdr_len = (uint16_t)first->header,
                                  .gso_size = (uint16_t)(first->length - first->header),
                                  .csum_start = (uint16_t)first->transport,
                                  .csum_offset = (uint16_t)checksum_offset(first)};
  int32_t last = run->indices[run->parts - 1];
  bool push = first->protocol == PROTOCOL_TCP && (burst->bytes[burst->offset[last] + first->transport + TCP_FLAGS] & TCP_PSH) != 0;
  join_headers(run, push, headers);
  vectors[0] = (struct iovec){&header, sizeof header};
  vectors[1] = (struct iovec){headers, (size_t)first->header};
  for (int32_t k = 0; k < run->parts; k++) {
    int32_t i = run->indices[k];
    vectors[2 + k] = (struct iovec){(uint8_t *)burst->bytes + burst->offset[i] + first->header,
                                    (size_t)(burst->length[i] - first->header)};
  }
  return write_vectors(writer->fd, vectors, 2 + run->parts);
}

/* Writes the run; what the kernel refuses as a whole is tried again packet by packet. */
static void end_run(struct writer *writer) {
  struct run *run = &writer->run;
  bool whole = run->parts > 1 && write_run(writer) == 0;
  for (int32_t k = 0; k < run->parts; k++) {
    if (whole)
      writer->burst->next[run->indices[k]] = NEXT_DONE;
    else
      write_one(writer, run->indices[k]);
  }
  if (whole) writer->sent += run->parts;
  run->parts = 0;
}

int32_t tun_write(int32_t fd, struct burst *burst, int32_t count, int32_t select) {
  struct writer writer = {.fd = fd, .burst = burst};
  struct segment segment;
  for (int32_t i = 0; i < count; i++) {
    if (burst->next[i] != select) continue;
    bool joinable = parse(burst, i, &segment);
    if (joinable && append(&writer.run, &segment, i)) continue;
    end_run(&writer);
    if (joinable)
      begin(&writer.run, &segment, i);
    else
      write_one(&writer, i);
  }
  end_run(&writer);
  return writer.sent;
}
