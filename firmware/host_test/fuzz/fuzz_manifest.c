/* Any bytes as a manifest; what is taken leads nowhere but below /updates/. */
#include "lab_update.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lab_manifest_t manifest;
    const lab_status_t status = lab_manifest_read((lab_span_t){data, size}, &manifest);
    if (status == LAB_OK && strncmp(manifest.path, "/updates/", 9) != 0) {
        abort();
    }
    return 0;
}
