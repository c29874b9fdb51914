/*
 * A security key in software, behind OpenSSH's sk-api (version 10): what it keeps and signs is done by the program `tool` in the folder
 * SK_DIR, which is asked with a verb, reads the file `asked` and prints its answer.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sk_option;

struct sk_enroll_response {
	uint8_t flags;
	uint8_t *public_key;
	size_t public_key_len;
	uint8_t *key_handle;
	size_t key_handle_len;
	uint8_t *signature;
	size_t signature_len;
	uint8_t *attestation_cert;
	size_t attestation_cert_len;
	uint8_t *authdata;
	size_t authdata_len;
};

struct sk_sign_response {
	uint8_t flags;
	uint32_t counter;
	uint8_t *sig_r;
	size_t sig_r_len;
	uint8_t *sig_s;
	size_t sig_s_len;
};

static uint8_t *tool(const char *verb, const char *application, const uint8_t *asked, size_t len, size_t want)
{
	char path[4096], command[9000];
	const char *dir = getenv("SK_DIR");
	uint8_t *answer = malloc(want + 1);
	FILE *file;
	size_t got;

	if (dir == NULL || answer == NULL)
		return NULL;
	snprintf(path, sizeof(path), "%s/asked", dir);
	if ((file = fopen(path, "w")) == NULL)
		return NULL;
	fwrite(asked, 1, len, file);
	fclose(file);
	snprintf(command, sizeof(command), "sh '%s/tool' %s '%s' '%s'", dir, verb, dir, application);
	if ((file = popen(command, "r")) == NULL)
		return NULL;
	got = fread(answer, 1, want + 1, file);
	return pclose(file) == 0 && got == want ? answer : NULL;
}

uint32_t sk_api_version(void)
{
	return 0x000a0000;
}

/* Ed25519 only. */
int sk_enroll(uint32_t alg, const uint8_t *challenge, size_t challenge_len, const char *application, uint8_t flags, const char *pin,
    struct sk_option **options, struct sk_enroll_response **response)
{
	struct sk_enroll_response *made = calloc(1, sizeof(*made));

	(void)pin;
	(void)options;
	if (alg != 1 || made == NULL)
		return -1;
	made->flags = flags;
	made->public_key = tool("enroll", application, challenge, challenge_len, 32);
	made->public_key_len = 32;
	made->key_handle = (uint8_t *)strdup("one");
	made->key_handle_len = 3;
	made->signature = calloc(1, 64);
	made->signature_len = 64;
	if (made->public_key == NULL || made->key_handle == NULL || made->signature == NULL)
		return -1;
	*response = made;
	return 0;
}

int sk_sign(uint32_t alg, const uint8_t *data, size_t data_len, const char *application, const uint8_t *key_handle, size_t key_handle_len,
    uint8_t flags, const char *pin, struct sk_option **options, struct sk_sign_response **response)
{
	struct sk_sign_response *made = calloc(1, sizeof(*made));

	(void)key_handle;
	(void)key_handle_len;
	(void)flags;
	(void)pin;
	(void)options;
	if (alg != 1 || made == NULL)
		return -1;
	made->flags = 1;
	made->counter = 1;
	made->sig_r = tool("sign", application, data, data_len, 64);
	made->sig_r_len = 64;
	if (made->sig_r == NULL)
		return -1;
	*response = made;
	return 0;
}

int sk_load_resident_keys(const char *pin, struct sk_option **options, void ***keys, size_t *count)
{
	(void)pin;
	(void)options;
	*keys = NULL;
	*count = 0;
	return 0;
}
