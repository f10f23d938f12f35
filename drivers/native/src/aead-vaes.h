/* AES-GCM of libipsec-mb, when the machine has the library and the processor VAES and AVX-512. */
#ifndef SELVAGE_AEAD_VAES_H
#define SELVAGE_AEAD_VAES_H

#include <stdbool.h>
#include <stdint.h>

struct vaes;
struct vaes_key;

/* Loads the library and compares what it does with OpenSSL; NULL when anything of this fails. */
struct vaes *vaes_load(void);
void vaes_unload(struct vaes *vaes);

/* `key_bytes` 16 or 32; NULL without memory. */
struct vaes_key *vaes_key_new(const struct vaes *vaes, const uint8_t *secret, int32_t key_bytes);
void vaes_key_free(struct vaes_key *key);

/* In place, with the tag behind the text. The nonce has 12 octets. */
void vaes_seal(const struct vaes_key *key, const uint8_t *nonce, const uint8_t *aad, int32_t aad_bytes, uint8_t *text, int32_t text_bytes);
/* False when the tag is wrong; it is compared in constant time. */
bool vaes_open(const struct vaes_key *key, const uint8_t *nonce, const uint8_t *aad, int32_t aad_bytes, uint8_t *text, int32_t text_bytes);

#endif
