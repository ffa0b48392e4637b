"""Cipher suites, groups, signature schemes and alerts by their numbers (IANA's TLS registries)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Suite:
    """A cipher suite.

    Attributes:
        code: Its number on the wire.
        name: Its name in IANA's registry.
        openssl: Its name in `openssl ciphers` and in Mosquitto's configuration.
    """

    code: int
    name: str
    openssl: str

    @property
    def exchange(self) -> str:
        """How the keys are agreed on; in TLS 1.3 that is not the suite's business, and always ephemeral."""
        return (
            self.name.removeprefix("TLS_").partition("_WITH_")[0].split("_")[0]
            if "_WITH_" in self.name
            else "(EC)DHE"
        )

    @property
    def encryption(self) -> str:
        """How data are encrypted, such as `AES_128_GCM`."""
        return self.name.removeprefix("TLS_").rpartition("_WITH_")[2].rpartition("_")[0]

    @property
    def digest(self) -> str:
        """The hash of the key schedule (of TLS 1.2's MAC, where there is one)."""
        return self.name.rpartition("_")[2]

    @property
    def forward_secret(self) -> bool:
        """Whether a recording stays closed when the server's key is stolen later."""
        return self.exchange != "RSA"

    @property
    def aead(self) -> bool:
        """Whether encryption and integrity are one operation (RFC 5116), with no padding to play with."""
        return "GCM" in self.name or "POLY1305" in self.name

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong with it, in words; nothing for a suite that this course recommends."""
        found = {
            "no encryption": "NULL" in self.name,
            "no forward secrecy": not self.forward_secret,
            "CBC": "CBC" in self.name,
            "SHA-1": self.digest == "SHA",
            "MD5": self.digest == "MD5",
        }
        return tuple(word for word, holds in found.items() if holds)


_TABLE = """
1301 TLS_AES_128_GCM_SHA256 TLS_AES_128_GCM_SHA256
1302 TLS_AES_256_GCM_SHA384 TLS_AES_256_GCM_SHA384
1303 TLS_CHACHA20_POLY1305_SHA256 TLS_CHACHA20_POLY1305_SHA256
C02B TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 ECDHE-ECDSA-AES128-GCM-SHA256
C02C TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 ECDHE-ECDSA-AES256-GCM-SHA384
CCA9 TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 ECDHE-ECDSA-CHACHA20-POLY1305
C02F TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 ECDHE-RSA-AES128-GCM-SHA256
C030 TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 ECDHE-RSA-AES256-GCM-SHA384
CCA8 TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 ECDHE-RSA-CHACHA20-POLY1305
009E TLS_DHE_RSA_WITH_AES_128_GCM_SHA256 DHE-RSA-AES128-GCM-SHA256
009F TLS_DHE_RSA_WITH_AES_256_GCM_SHA384 DHE-RSA-AES256-GCM-SHA384
CCAA TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256 DHE-RSA-CHACHA20-POLY1305
C023 TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256 ECDHE-ECDSA-AES128-SHA256
C024 TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384 ECDHE-ECDSA-AES256-SHA384
C027 TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256 ECDHE-RSA-AES128-SHA256
C028 TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384 ECDHE-RSA-AES256-SHA384
C009 TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA ECDHE-ECDSA-AES128-SHA
C00A TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA ECDHE-ECDSA-AES256-SHA
C013 TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA ECDHE-RSA-AES128-SHA
C014 TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA ECDHE-RSA-AES256-SHA
0067 TLS_DHE_RSA_WITH_AES_128_CBC_SHA256 DHE-RSA-AES128-SHA256
006B TLS_DHE_RSA_WITH_AES_256_CBC_SHA256 DHE-RSA-AES256-SHA256
0033 TLS_DHE_RSA_WITH_AES_128_CBC_SHA DHE-RSA-AES128-SHA
0039 TLS_DHE_RSA_WITH_AES_256_CBC_SHA DHE-RSA-AES256-SHA
009C TLS_RSA_WITH_AES_128_GCM_SHA256 AES128-GCM-SHA256
009D TLS_RSA_WITH_AES_256_GCM_SHA384 AES256-GCM-SHA384
003C TLS_RSA_WITH_AES_128_CBC_SHA256 AES128-SHA256
003D TLS_RSA_WITH_AES_256_CBC_SHA256 AES256-SHA256
002F TLS_RSA_WITH_AES_128_CBC_SHA AES128-SHA
0035 TLS_RSA_WITH_AES_256_CBC_SHA AES256-SHA
C006 TLS_ECDHE_ECDSA_WITH_NULL_SHA ECDHE-ECDSA-NULL-SHA
C010 TLS_ECDHE_RSA_WITH_NULL_SHA ECDHE-RSA-NULL-SHA
003B TLS_RSA_WITH_NULL_SHA256 NULL-SHA256
0002 TLS_RSA_WITH_NULL_SHA NULL-SHA
0001 TLS_RSA_WITH_NULL_MD5 NULL-MD5
"""

SUITES = {
    suite.code: suite
    for suite in (
        Suite(int(code, 16), name, openssl)
        for code, name, openssl in (line.split() for line in _TABLE.strip().splitlines())
    )
}
"""The suites that an MQTT client and a broker with OpenSSL may agree on, and those that they must not."""

_SIGNALS = {0x00FF: "TLS_EMPTY_RENEGOTIATION_INFO_SCSV", 0x5600: "TLS_FALLBACK_SCSV"}

GROUPS = {
    23: "secp256r1",
    24: "secp384r1",
    25: "secp521r1",
    29: "x25519",
    30: "x448",
    256: "ffdhe2048",
    257: "ffdhe3072",
    258: "ffdhe4096",
    259: "ffdhe6144",
    260: "ffdhe8192",
    0x11EB: "SecP256r1MLKEM768",
    0x11EC: "X25519MLKEM768",
    0x11ED: "SecP384r1MLKEM1024",
}

SCHEMES = {
    0x0201: "rsa_pkcs1_sha1",
    0x0203: "ecdsa_sha1",
    0x0401: "rsa_pkcs1_sha256",
    0x0403: "ecdsa_secp256r1_sha256",
    0x0501: "rsa_pkcs1_sha384",
    0x0503: "ecdsa_secp384r1_sha384",
    0x0601: "rsa_pkcs1_sha512",
    0x0603: "ecdsa_secp521r1_sha512",
    0x0804: "rsa_pss_rsae_sha256",
    0x0805: "rsa_pss_rsae_sha384",
    0x0806: "rsa_pss_rsae_sha512",
    0x0807: "ed25519",
    0x0808: "ed448",
    0x0809: "rsa_pss_pss_sha256",
    0x080A: "rsa_pss_pss_sha384",
    0x080B: "rsa_pss_pss_sha512",
}

ALERTS = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    22: "record_overflow",
    40: "handshake_failure",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
}

VERSIONS = {0x0300: "SSL 3.0", 0x0301: "1.0", 0x0302: "1.1", 0x0303: "1.2", 0x0304: "1.3"}


def suite_name(code: int) -> str:
    """Return the name of a suite, or its number where it has none here."""
    return SUITES[code].name if code in SUITES else _SIGNALS.get(code, f"0x{code:04X}")


def named(table: dict[int, str], code: int) -> str:
    """Return the name of a number in a table, or the number."""
    return table.get(code, f"0x{code:02X}")
