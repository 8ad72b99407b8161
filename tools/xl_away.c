/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* save and migrate: nothing about a domain tells that xl is copying it while it
 * runs, so the broker is told to leave it alone. */
#include "tools/xl_run.h"
#include "tools/xl_squeeze.h"

#include "common/units.h"
#include "tools/resolve.h"

#include <string.h>

struct traveller {
    uint32_t domid;
    char uuid[UUID_TEXT];
};

static void
note_uuid(const json_t *status, struct traveller *traveller)
{
    const json_t *domains = json_object_get(status, "domains");
    const json_t *domain;
    size_t i;

    json_array_foreach(domains, i, domain)
    {
        const char *uuid = json_string_value(json_object_get(domain, "uuid"));

        if (uuid && json_integer_value(json_object_get(domain, "domid")) ==
                        traveller->domid)
            snprintf(traveller->uuid, sizeof(traveller->uuid), "%s", uuid);
    }
}

/* False if that is said already. */
static bool
look_up(const struct xl_options *options, const json_t *status,
        struct traveller *traveller)
{
    char message[200];

    if (!resolve_is_domid(options->words[0], &traveller->domid) &&
        resolve_domain(status, options->words[0], &traveller->domid, message,
                       sizeof(message))) {
        xl_say(options, "%s", message);
        return false;
    }
    note_uuid(status, traveller);
    return true;
}

static bool
tell(const struct xl_options *options, const char *method, uint32_t domid)
{
    struct client_answer answer;
    bool done;

    xl_call(options, method, json_pack("{s:I}", "domid", (json_int_t)domid),
            false, &answer);
    done = answer.end == CLIENT_RESULT;
    if (!done)
        xl_say_why(options, &answer);
    client_answer_done(&answer);
    return done;
}

/* If it is still that domain. */
static void
thaw(const struct xl_options *options, const struct traveller *traveller)
{
    uint32_t domid = traveller->domid;

    if (*traveller->uuid &&
        (xl_find_domain(traveller->uuid, "", &domid) == XL_NOT_THERE ||
         domid != traveller->domid))
        return;
    if (!tell(options, "squeezed.thaw", traveller->domid))
        xl_say(options,
               "domain %u is still frozen: squeezectl thaw %u (or, if it has "
               "gone, nothing)",
               (unsigned)traveller->domid, (unsigned)traveller->domid);
}

static int
go(const struct xl_options *options, const struct traveller *traveller)
{
    struct xl_run run = { .argv = options->plain, .manner = XL_FOREGROUND };

    if (!tell(options, "squeezed.freeze", traveller->domid))
        return EXIT_FAILED;
    xl_run(&run);
    xl_run_done(&run);
    thaw(options, traveller);
    if (run.signal)
        xl_end_by_signal(run.signal);
    return xl_exit_status(run.wait_status);
}

int
xl_send_away(const struct xl_options *options)
{
    struct traveller traveller = { .uuid = "" };
    struct client_answer answer;
    int status = EXIT_FAILED;

    xl_call(options, "squeezed.status", json_object(), false, &answer);
    if (answer.end == CLIENT_NO_ANSWER)
        status = xl_without_broker(options, answer.message);
    else if (answer.end != CLIENT_RESULT)
        xl_say_why(options, &answer);
    else if (look_up(options, answer.result, &traveller))
        status = go(options, &traveller);
    client_answer_done(&answer);
    return status;
}
