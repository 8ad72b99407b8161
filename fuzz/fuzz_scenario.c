/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Scenario files; what follows a NUL is one of the settings that stand over
 * the file. */
#include "fuzz/fuzz.h"
#include "squeezed/platform/scenario.h"

#include <string.h>

static void
check_event(const struct scenario *s, const struct scenario_event *e)
{
    MUST(e->action < ACTION_COUNT && scenario_action_name(e->action));
    MUST(e->after_index == EVENT_NONE || e->after_index < s->event_count);
    MUST(e->of_index == EVENT_NONE || e->of_index < s->event_count);
    MUST(e->at_us >= 0 && e->every_us >= 0);
}

static void
check_domain(const struct scenario_domain *d)
{
    MUST(d->domid < LIMIT_DOMAINS && d->count <= LIMIT_DOMAINS);
    MUST(d->actual_kib <= LIMIT_SIZE_KIB && d->target_kib <= LIMIT_SIZE_KIB);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    const uint8_t *nul = length ? memchr(data, '\0', length) : NULL;
    size_t head = nul ? (size_t)(nul - data) : length;
    char *setting =
        nul ? strndup((const char *)nul + 1, length - head - 1) : NULL;
    const char *texts[] = { setting };
    const struct scenario_settings settings = { texts, 1 };
    char message[512] = "";
    struct scenario *s =
        scenario_read_text("f", (const char *)data, head,
                           setting ? &settings : NULL, message, sizeof message);

    MUST(s || *message);
    if (s) {
        for (size_t i = 0; i < s->event_count; i++)
            check_event(s, &s->events[i]);
        for (size_t i = 0; i < s->domain_count; i++)
            check_domain(&s->domains[i]);
    }
    scenario_free(s);
    free(setting);
    return 0;
}
