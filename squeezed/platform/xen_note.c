/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/xen_note.h"

#include <stdlib.h>
#include <string.h>

struct xen_note {
    LIST_ENTRY(xen_note) link;
    struct xen_notes *notes;
    uint32_t domid;
    uint32_t serial;
    enum xen_key key;
};

static void
noted(void *arg, enum err error, const char *bytes, size_t length)
{
    struct xen_note *note = arg;
    struct xen_notes *notes = note->notes;
    struct xen_domain *domain = xen_cache_find(notes->cache, note->domid);

    (void)bytes;
    (void)length;
    LIST_REMOVE(note, link);
    if (domain && domain->serial == note->serial) {
        domain->noting--;
        if (error && error != ERR_NOT_READY)
            xen_cache_reread(domain, note->key);
        if (!error && note->key == XEN_KEY_CEILING)
            notes->noted(notes->context);
    }
    free(note);
}

/* False without memory. */
static bool
write_down(struct xen_notes *notes, struct xen_domain *domain, enum xen_key key,
           struct xen_value value)
{
    struct xen_note *note = calloc(1, sizeof(*note));
    char path[XEN_KEY_PATH];

    if (!note)
        return false;
    *note = (struct xen_note){ .notes = notes,
                               .domid = domain->domid,
                               .serial = domain->serial,
                               .key = key };
    LIST_INSERT_HEAD(&notes->list, note, link);
    domain->noting++;
    xen_cache_wrote(domain, key, value);
    xsc_write(notes->xsc, 0, xen_key_path(key, domain->domid, path), value.text,
              strlen(value.text), noted, note);
    return true;
}

void
xen_note_base(struct xen_notes *notes, struct xen_domain *domain)
{
    write_down(notes, domain, XEN_KEY_SQUEEZED_TARGET,
               domain->values[XEN_KEY_TARGET]);
}

void
xen_note_wish(struct xen_notes *notes, struct xen_domain *domain,
              uint64_t ceiling_kib)
{
    if (write_down(notes, domain, XEN_KEY_CEILING, xen_value_of(ceiling_kib)))
        xen_note_base(notes, domain);
}

void
xen_notes_free(struct xen_notes *notes)
{
    struct xen_note *note;

    while ((note = LIST_FIRST(&notes->list))) {
        LIST_REMOVE(note, link);
        free(note);
    }
}
