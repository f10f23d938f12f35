/* Reading: a TCP super-packet becomes the packets that the device's MTU asks for, with headers and checksums of their own. */
#define _GNU_SOURCE
#include "tun-bursts.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/uio.h>

#include "checksum.h"

/* Completes a checksum that the host left to its device. */
static bool finish_checksum(uint8_t *packet, int32_t length, const struct virtio_net_hdr *header) {
  int32_t start = header->csum_start, field = start + header->csum_offset;
  if (field + 2 > length) return false;
  uint16_t sum = checksum_finish(checksum_add(0, packet + start, length - start));
  /* Zero would mean "none" in UDP (RFC 768), and is the same number as all ones. */
  if (sum == 0) sum = 0xffff;
  memcpy(packet + field, &sum, 2);
  return true;
}

/* Fills in how the packet that was just read is to be cut; false when it makes no sense. */
static bool plan(struct staged *staged, uint8_t *packet, const struct virtio_net_hdr *header) {
  bool unfinished = (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0;
  staged->header = 0;
  staged->segment = staged->length;
  if (header->gso_type == VIRTIO_NET_HDR_GSO_NONE) return !unfinished || finish_checksum(packet, staged->length, header);
  bool v6 = header->gso_type == VIRTIO_NET_HDR_GSO_TCPV6;
  int32_t transport = header->csum_start;
  if ((!v6 && header->gso_type != VIRTIO_NET_HDR_GSO_TCPV4) || !unfinished || header->gso_size == 0 ||
      packet[0] >> 4 != (v6 ? 6 : 4) || transport < (v6 ? IPV6_HEADER_BYTES : IPV4_HEADER_BYTES) ||
      transport + TCP_HEADER_BYTES > staged->length)
    return false;
  staged->transport = transport;
  staged->header = transport + (packet[transport + TCP_DATA_OFFSET] >> 4) * 4;
  staged->segment = header->gso_size;
  return staged->header < staged->length && staged->header + staged->segment <= LARGEST_READ;
}

/* Takes one packet from the device; false when there is none. */
static bool stage(struct staging *staging) {
  struct virtio_net_hdr header = {0};
  struct iovec vectors[2] = {{&header, sizeof header}, {staging->bytes[0], STAGED_BYTES}};
  int32_t header_bytes = staging->vnet_header ? (int32_t)sizeof header : 0;
  for (;;) {
    ssize_t length = readv(staging->fd, vectors + (header_bytes == 0), header_bytes == 0 ? 1 : 2);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return false;
    struct staged *staged = &staging->staged[0];
    staged->length = (int32_t)length - header_bytes;
    if (staged->length <= 0 || !plan(staged, staging->bytes[0], &header)) continue;
    staging->current = 0;
    staging->messages = 1;
    staging->position = staged->header;
    return true;
  }
}

/* The headers of the part that starts at `position` of the super-packet and is `length` octets long. */
static void write_headers(const struct staged *staged, uint8_t *packet, int32_t position, int32_t length) {
  uint8_t *tcp = packet + staged->transport;
  int32_t before = position - staged->header, transport_bytes = staged->header - staged->transport + length;
  if (packet[0] >> 4 == 4) {
    write16(packet + 2, (uint32_t)(staged->header + length));
    write16(packet + 4, read16(packet + 4) + (uint32_t)(before / staged->segment));
    memset(packet + 10, 0, 2);
    uint16_t sum = checksum_finish(checksum_add(0, packet, staged->transport));
    memcpy(packet + 10, &sum, 2);
  } else {
    write16(packet + 4, (uint32_t)(staged->header - IPV6_HEADER_BYTES + length));
  }
  write32(tcp + TCP_SEQUENCE, read32(tcp + TCP_SEQUENCE) + (uint32_t)before);
  if (position + length < staged->length) tcp[TCP_FLAGS] &= (uint8_t)~(TCP_FIN | TCP_PSH);
  if (before > 0) tcp[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
  memset(tcp + TCP_CHECKSUM, 0, 2);
  uint16_t sum = checksum_finish(checksum_add(checksum_pseudo(packet, PROTOCOL_TCP, transport_bytes), tcp, transport_bytes));
  memcpy(tcp + TCP_CHECKSUM, &sum, 2);
}

/* Moves the next part into slot i; false when it was left out because no slot holds it. */
static bool unstage(struct staging *staging, struct burst *burst, int32_t i) {
  const struct staged *staged = &staging->staged[0];
  int32_t position = staging->position, left = staged->length - position;
  int32_t length = left < staged->segment ? left : staged->segment;
  staging->position += length;
  if (staging->position >= staged->length) staging->current = staging->messages;
  if (staged->header + length > LARGEST_READ) return false;
  uint8_t *packet = burst->bytes + slot_start(i);
  memcpy(packet, staging->bytes[0], (size_t)staged->header);
  memcpy(packet + staged->header, staging->bytes[0] + position, (size_t)length);
  if (staged->header > 0) write_headers(staged, packet, position, length);
  burst->offset[i] = slot_start(i);
  burst->length[i] = staged->header + length;
  burst->segment[i] = 0;
  burst->mark[i] = 0;
  return true;
}

int32_t tun_read(struct staging *staging, struct burst *burst, int32_t count) {
  int32_t i = count;
  while (i < BURST_PACKETS && (staging->current < staging->messages || stage(staging))) i += unstage(staging, burst, i);
  return i;
}
