/* The HMAC keeps the two hash states that its key leads to (RFC 2104 4), so that a packet costs two copies and no key
 * schedule. With extended sequence numbers their high half is covered behind the ciphertext (RFC 4303 2.2.1). */
#include "cbc.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define ESP_HEADER_BYTES 8
#define BLOCK_BYTES 16
#define LARGEST_HASH_BLOCK 128

struct cbc_key {
  EVP_CIPHER_CTX *seal, *open;
  EVP_MD_CTX *inner, *outer, *work;
  int32_t icv_bytes;
  bool esn;
};

static const EVP_CIPHER *cipher_of(int32_t key_bytes) {
  return key_bytes == 16 ? EVP_aes_128_cbc() : key_bytes == 24 ? EVP_aes_192_cbc() : EVP_aes_256_cbc();
}

static const EVP_MD *digest_of(int32_t digest) {
  return digest == 256 ? EVP_sha256() : digest == 384 ? EVP_sha384() : digest == 512 ? EVP_sha512() : EVP_sha1();
}

void cbc_key_free(struct cbc_key *key) {
  if (key == NULL) return;
  EVP_CIPHER_CTX_free(key->seal);
  EVP_CIPHER_CTX_free(key->open);
  EVP_MD_CTX_free(key->inner);
  EVP_MD_CTX_free(key->outer);
  EVP_MD_CTX_free(key->work);
  free(key);
}

/* The state after a block of the key and `filler`. */
static bool begin_hash(EVP_MD_CTX *context, const EVP_MD *digest, const uint8_t *secret, int32_t bytes, uint8_t filler) {
  uint8_t block[LARGEST_HASH_BLOCK];
  memset(block, filler, sizeof block);
  for (int32_t i = 0; i < bytes; i++) block[i] ^= secret[i];
  bool good = EVP_DigestInit_ex(context, digest, NULL) == 1 && EVP_DigestUpdate(context, block, (size_t)EVP_MD_get_block_size(digest)) == 1;
  OPENSSL_cleanse(block, sizeof block);
  return good;
}

static bool open_contexts(struct cbc_key *key, const struct cbc_suite *suite, const uint8_t *secret) {
  const EVP_CIPHER *cipher = cipher_of(suite->cipher_key_bytes);
  const EVP_MD *digest = digest_of(suite->digest);
  const uint8_t *hmac_secret = secret + suite->cipher_key_bytes;
  key->seal = EVP_CIPHER_CTX_new();
  key->open = EVP_CIPHER_CTX_new();
  key->inner = EVP_MD_CTX_new();
  key->outer = EVP_MD_CTX_new();
  key->work = EVP_MD_CTX_new();
  return key->seal != NULL && key->open != NULL && key->inner != NULL && key->outer != NULL && key->work != NULL &&
         EVP_EncryptInit_ex(key->seal, cipher, NULL, secret, NULL) == 1 && EVP_DecryptInit_ex(key->open, cipher, NULL, secret, NULL) == 1 &&
         EVP_CIPHER_CTX_set_padding(key->seal, 0) == 1 && EVP_CIPHER_CTX_set_padding(key->open, 0) == 1 &&
         begin_hash(key->inner, digest, hmac_secret, suite->hmac_key_bytes, 0x36) &&
         begin_hash(key->outer, digest, hmac_secret, suite->hmac_key_bytes, 0x5c);
}

struct cbc_key *cbc_key_new(const struct cbc_suite *suite, const uint8_t *secret, bool esn) {
  struct cbc_key *key = calloc(1, sizeof *key);
  if (key == NULL) return NULL;
  key->icv_bytes = suite->icv_bytes;
  key->esn = esn;
  if (open_contexts(key, suite, secret)) return key;
  ERR_clear_error();
  cbc_key_free(key);
  return NULL;
}

static bool icv_of(const struct cbc_key *key, const uint8_t *esp, int32_t covered, int32_t seq_hi, uint8_t *icv) {
  uint32_t high = (uint32_t)seq_hi;
  uint8_t high_octets[4] = {(uint8_t)(high >> 24), (uint8_t)(high >> 16), (uint8_t)(high >> 8), (uint8_t)high};
  unsigned int bytes;
  return EVP_MD_CTX_copy_ex(key->work, key->inner) == 1 && EVP_DigestUpdate(key->work, esp, (size_t)covered) == 1 &&
         (!key->esn || EVP_DigestUpdate(key->work, high_octets, sizeof high_octets) == 1) && EVP_DigestFinal_ex(key->work, icv, &bytes) == 1 &&
         EVP_MD_CTX_copy_ex(key->work, key->outer) == 1 && EVP_DigestUpdate(key->work, icv, bytes) == 1 &&
         EVP_DigestFinal_ex(key->work, icv, &bytes) == 1;
}

/* Octets of IV and ciphertext, or 0 for a packet that does not consist of an IV and whole blocks. */
static int32_t blocks_of(const struct cbc_key *key, int32_t length) {
  int32_t blocks = length - ESP_HEADER_BYTES - key->icv_bytes;
  return blocks >= 2 * BLOCK_BYTES && blocks % BLOCK_BYTES == 0 ? blocks : 0;
}

bool cbc_seal(const struct cbc_key *key, uint8_t *esp, int32_t length, int32_t seq_hi) {
  static const uint8_t ZEROS[BLOCK_BYTES] = {0};
  uint8_t icv[EVP_MAX_MD_SIZE], *text = esp + ESP_HEADER_BYTES;
  int32_t blocks = blocks_of(key, length);
  int done;
  /* The IV must not be foreseeable (RFC 3602 3): it is the packet's number, encrypted under the same key (NIST SP 800-38A
   * C), which is what CBC with an IV of zeros makes of a first block that holds the number. */
  if (blocks == 0 || EVP_EncryptInit_ex(key->seal, NULL, NULL, NULL, ZEROS) != 1 || EVP_EncryptUpdate(key->seal, text, &done, text, blocks) != 1 ||
      !icv_of(key, esp, ESP_HEADER_BYTES + blocks, seq_hi, icv))
    return false;
  memcpy(text + blocks, icv, (size_t)key->icv_bytes);
  return true;
}

bool cbc_open(const struct cbc_key *key, uint8_t *esp, int32_t length, int32_t seq_hi) {
  uint8_t icv[EVP_MAX_MD_SIZE], iv[BLOCK_BYTES], *text = esp + ESP_HEADER_BYTES;
  int32_t blocks = blocks_of(key, length);
  int done;
  if (blocks == 0 || !icv_of(key, esp, ESP_HEADER_BYTES + blocks, seq_hi, icv) || CRYPTO_memcmp(icv, text + blocks, (size_t)key->icv_bytes) != 0)
    return false;
  memcpy(iv, text, BLOCK_BYTES);
  text += BLOCK_BYTES;
  return EVP_DecryptInit_ex(key->open, NULL, NULL, NULL, iv) == 1 && EVP_DecryptUpdate(key->open, text, &done, text, blocks - BLOCK_BYTES) == 1;
}
