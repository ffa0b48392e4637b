#include "lab_network_link.h"

#include <sdkconfig.h>

#ifdef CONFIG_LAB_NETWORK_OPENETH

#include <esp_eth.h>
#include <esp_eth_mac_openeth.h>
#include <esp_eth_netif_glue.h>
#include <esp_idf_version.h>
#include <esp_netif.h>

static esp_err_t install(esp_eth_handle_t *driver)
{
    const eth_mac_config_t mac_config = ETH_MAC_DEFAULT_CONFIG();
    eth_phy_config_t phy_config = ETH_PHY_DEFAULT_CONFIG();
    phy_config.autonego_timeout_ms = 100; /* there is nobody to negotiate with */
    esp_eth_mac_t *mac = esp_eth_mac_new_openeth(&mac_config);
#if ESP_IDF_VERSION_MAJOR >= 6
    esp_eth_phy_t *phy = esp_eth_phy_new_generic(&phy_config);
#else
    esp_eth_phy_t *phy = esp_eth_phy_new_dp83848(&phy_config); /* the one that QEMU has; a component of its own in 6.x */
#endif
    if (mac == NULL || phy == NULL) {
        return ESP_ERR_NO_MEM;
    }
    const esp_eth_config_t config = ETH_DEFAULT_CONFIG(mac, phy);
    return esp_eth_driver_install(&config, driver);
}

esp_err_t lab_network_link_start(const lab_storage_t *storage, const lab_random_t *random)
{
    const esp_netif_config_t config = ESP_NETIF_DEFAULT_ETH();
    esp_eth_handle_t driver = NULL;
    (void)storage;
    (void)random;
    esp_netif_t *netif = esp_netif_new(&config);
    if (netif == NULL) {
        return ESP_ERR_NO_MEM;
    }
    esp_err_t code = install(&driver);
    if (code == ESP_OK) {
        code = esp_netif_attach(netif, esp_eth_new_netif_glue(driver));
    }
    return code == ESP_OK ? esp_eth_start(driver) : code;
}

#endif
