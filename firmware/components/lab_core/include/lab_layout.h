/* Where the device keeps what it must not lose; labkit/node/layout.py has the same names, and what each means. */
#ifndef LAB_LAYOUT_H
#define LAB_LAYOUT_H

#define LAB_PARTITION "fctry"

#define LAB_SPACE_IDENTITY "identity"
#define LAB_AT_DEVICE_ID "device_id"
#define LAB_AT_TOKEN "token"
#define LAB_AT_ROOT "root"
#define LAB_AT_HARDWARE "hardware"
#define LAB_AT_A_KEY "key"
#define LAB_AT_A_CHAIN "chain"
#define LAB_AT_B_KEY "key_b"
#define LAB_AT_B_CHAIN "chain_b"
#define LAB_AT_IN_USE "in_use"
#define LAB_AT_NEXT "next"
#define LAB_AT_RENEW_AFTER "renew_after"
#define LAB_AT_SHARE "share"

#define LAB_SPACE_NETWORK "network"
#define LAB_AT_SSID "ssid"
#define LAB_AT_PASSWORD "password"

#define LAB_SPACE_SERVICE "service"
#define LAB_AT_BROKER_HOST "broker_host"
#define LAB_AT_BROKER_PORT "broker_port"
#define LAB_AT_PROVISION_URL "provision_url"
#define LAB_AT_UPDATE_URL "update_url"
#define LAB_AT_TIME_SERVER "time_server"

#define LAB_SPACE_SETTINGS "settings"
#define LAB_AT_INTERVAL "interval"

#define LAB_SPACE_UPDATE "update"
#define LAB_AT_TRIED "tried"
#define LAB_AT_FAILED "failed"

/* The longest text of each kind, without its NUL. Whatever is longer was not written by us, and is refused unread. */
enum {
    LAB_LONGEST_PEM = 3967, /* what a string of NVS can hold */
    LAB_LONGEST_TOKEN = 128,
    LAB_LONGEST_SSID = 32,
    LAB_LONGEST_PASSWORD = 64,
    LAB_LONGEST_HOST = 253,
    LAB_LONGEST_URL = 300,
    LAB_LONGEST_VERSION = 17,
};

#endif
