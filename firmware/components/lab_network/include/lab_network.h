/* The network and the time: Wi-Fi, or open_eth in QEMU; on the linux target the host has both. */
#ifndef LAB_NETWORK_H
#define LAB_NETWORK_H

#include "lab_random.h"
#include "lab_storage.h"

/* Brings the network up, and keeps it up. LAB_OK, LAB_NETWORK_NO_CREDENTIALS, LAB_NVS_FAILED, LAB_NETWORK_DOWN (the driver does not
 * start) or LAB_MEMORY_SHORT. Both ports must outlive it. */
lab_status_t lab_network_begin(const lab_storage_t *storage, const lab_random_t *random);

/* Waits until there are an address and the time, at most so many milliseconds: LAB_OK, LAB_NETWORK_DOWN or LAB_CLOCK_UNSET. */
lab_status_t lab_network_wait(uint32_t timeout_ms);

#endif
