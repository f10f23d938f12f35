/* Cutting up: headers and checksums of each part as the host's device would write them (RFC 9293 3.1, RFC 768), between
 * a copy of the outer headers with the next sequence number in front and the ESP trailer behind (RFC 4303 2.4). */
#include "segments.h"

#include <string.h>

#include "checksum.h"
#include "transport.h"

#define ESP_HEADER_BYTES 8

bool super_of(const struct burst *burst, int32_t i, const struct esp_shape *shape, struct super *super) {
  int32_t start = burst->offset[i], length = burst->length[i], esp = burst->esp[i], inner = burst->inner[i];
  int32_t transport = burst->transport[i], headers = burst->headers[i], segment = burst->segment[i];
  if (!in_arena(start, length) || esp < start || inner < esp + ESP_HEADER_BYTES + shape->iv_bytes || inner - start > HEADROOM || segment <= 0 ||
      transport < IPV4_HEADER_BYTES || headers < transport + UDP_HEADER_BYTES || headers + segment > LARGEST_READ ||
      (int64_t)inner + headers >= (int64_t)start + length)
    return false;
  /* The columns must agree with the packet. */
  const uint8_t *packet = burst->bytes + inner;
  bool v6 = packet[0] >> 4 == 6;
  if (transport < (v6 ? IPV6_HEADER_BYTES : IPV4_HEADER_BYTES)) return false;
  if (headers != transport + UDP_HEADER_BYTES && headers < transport + TCP_HEADER_BYTES) return false;
  const uint8_t *iv = burst->bytes + esp + ESP_HEADER_BYTES;
  *super = (struct super){
      .outer = burst->bytes + start,
      .outer_bytes = inner - start,
      .esp_at = esp - start,
      .transport = transport,
      .headers = headers,
      .payload_bytes = start + length - inner - headers,
      .segment = segment,
      .trailer = (uint8_t)burst->trailer[i],
      .first_sequence = (uint64_t)read32(iv) << 32 | read32(iv + 4),
      .shape = *shape,
  };
  super->parts = (super->payload_bytes + segment - 1) / segment;
  return true;
}

/* What is encrypted but the trailer, for `bytes` of inner packet. */
static int32_t text_of(const struct super *super, int32_t bytes) {
  return super->outer_bytes - super->esp_at - ESP_HEADER_BYTES - super->shape.iv_bytes + bytes;
}

/* From ESP to the ICV. */
static int32_t esp_bytes_of(const struct super *super, int32_t bytes) {
  const struct esp_shape *shape = &super->shape;
  int32_t blocks = (text_of(super, bytes) + 2 + shape->block_bytes - 1) & -shape->block_bytes;
  return ESP_HEADER_BYTES + shape->iv_bytes + blocks + shape->icv_bytes;
}

int64_t super_output(const struct super *super) {
  return (int64_t)super->parts * (super->esp_at + esp_bytes_of(super, super->headers + super->segment));
}

static void write_ip(uint8_t *ip, const struct super *super, int32_t part, int32_t bytes) {
  if (ip[0] >> 4 == 4) {
    write16(ip + IPV4_TOTAL_LENGTH, (uint32_t)bytes);
    write16(ip + IPV4_IDENTIFICATION, read16(ip + IPV4_IDENTIFICATION) + (uint32_t)part);
    memset(ip + IPV4_CHECKSUM, 0, 2);
    uint16_t sum = checksum_finish(checksum_add(0, ip, super->transport));
    memcpy(ip + IPV4_CHECKSUM, &sum, 2);
  } else {
    write16(ip + IPV6_PAYLOAD_LENGTH, (uint32_t)(bytes - IPV6_HEADER_BYTES));
  }
}

static void write_transport(uint8_t *ip, const struct super *super, int32_t part, int32_t bytes) {
  uint8_t *transport = ip + super->transport, *field;
  int32_t transport_bytes = bytes - super->transport;
  bool udp = super->headers == super->transport + UDP_HEADER_BYTES;
  if (udp) {
    write16(transport + UDP_LENGTH, (uint32_t)transport_bytes);
    field = transport + UDP_CHECKSUM;
  } else {
    write32(transport + TCP_SEQUENCE, read32(transport + TCP_SEQUENCE) + (uint32_t)(part * super->segment));
    if (part < super->parts - 1) transport[TCP_FLAGS] &= (uint8_t)~(TCP_FIN | TCP_PSH);
    if (part > 0) transport[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
    field = transport + TCP_CHECKSUM;
  }
  memset(field, 0, 2);
  uint8_t protocol = udp ? PROTOCOL_UDP : PROTOCOL_TCP;
  uint16_t sum = checksum_finish(checksum_add(checksum_pseudo(ip, protocol, transport_bytes), transport, transport_bytes));
  if (udp && sum == 0) sum = 0xffff;
  memcpy(field, &sum, 2);
}

static void write_trailer(uint8_t *end, int32_t text_bytes, int32_t block_bytes, uint8_t next_header) {
  int32_t padding = -(text_bytes + 2) & (block_bytes - 1);
  for (int32_t k = 0; k < padding; k++) *end++ = (uint8_t)(k + 1);
  *end++ = (uint8_t)padding;
  *end = next_header;
}

int32_t write_part(const struct super *super, int32_t part, uint8_t *to, int32_t *esp_bytes) {
  int32_t position = part * super->segment, left = super->payload_bytes - position;
  int32_t payload = left < super->segment ? left : super->segment, bytes = super->headers + payload;
  const uint8_t *headers = super->outer + super->outer_bytes;
  uint8_t *esp = to + super->esp_at, *ip = to + super->outer_bytes;
  memcpy(to, super->outer, (size_t)(super->outer_bytes + super->headers));
  memcpy(ip + super->headers, headers + super->headers + position, (size_t)payload);
  uint64_t sequence = super->first_sequence + (uint64_t)part;
  write32(esp + 4, (uint32_t)sequence);
  write32(esp + ESP_HEADER_BYTES, (uint32_t)(sequence >> 32));
  write32(esp + ESP_HEADER_BYTES + 4, (uint32_t)sequence);
  write_ip(ip, super, part, bytes);
  write_transport(ip, super, part, bytes);
  write_trailer(ip + bytes, text_of(super, bytes), super->shape.block_bytes, super->trailer);
  *esp_bytes = esp_bytes_of(super, bytes);
  return super->esp_at + *esp_bytes;
}
