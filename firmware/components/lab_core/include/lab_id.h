/* Device ids: one strict grammar, because the id becomes a part of topics and the broker's user name. */
#ifndef LAB_ID_H
#define LAB_ID_H

#include "lab_text.h"

enum { LAB_ID_LONGEST = 63 };

/* Returns LAB_OK for a device id, and the first rule that it breaks otherwise (LAB_ID_…). The rules and their order are
 * those of labkit/pki/names.py.
 *
 * Does not check: that the certificate has the same name. The broker goes by the certificate. */
lab_status_t lab_id_check(lab_span_t id);

/* Returns whether a text has only a-z, 0-9 and -, and no - in front; an empty one has. */
bool lab_word_check(lab_span_t text);

#endif
