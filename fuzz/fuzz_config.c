/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Configuration files. */
#include "common/units.h"
#include "fuzz/fuzz.h"
#include "squeezed/config.h"

#include <string.h>

/* A refusal names the file (and the line), a good file keeps its promises. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    struct config config, now;
    char message[512] = "";
    size_t position = 0;

    config_defaults(&now);
    if (config_load_text("f", (const char *)data, length, &config, message,
                         sizeof message) < 0) {
        MUST(strncmp(message, "f:", 2) == 0);
        return 0;
    }
    MUST(config.policy != NULL);
    MUST(config.domain_zero_min_kib <= config.domain_zero_max_kib);
    MUST(config.balance_interval_us >= 10 * US_PER_MS);
    MUST(config.default_dynamic_min <= 100);
    MUST(*config.socket != '\0' && *config.switch_path != '\0');
    while (config_keep_fixed(&now, &config, &position) != NULL)
        ;
    position = 0;
    MUST(config_keep_fixed(&now, &config, &position) == NULL);
    return 0;
}
