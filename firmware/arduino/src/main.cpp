// The node in Arduino's words: connect with mutual TLS, send readings, take the interval command. Nothing is pasted into it: who the
// device is, where it goes and which network it joins stand in the partition fctry, where labkit writes them.
//
// Unverified: it was not compiled where this course is tested. It does less than the ESP-IDF project: no first boot, no renewal, no
// update. Those need the two slots and the rollback that the other one has.
#include <Arduino.h>
#include <MQTT.h>
#include <WiFi.h>
#include <WiFiClientSecure.h>
#include <nvs.h>
#include <nvs_flash.h>
#include <time.h>

static const char PARTITION[] = "fctry";
static const time_t EARLIEST = 1767225600; // 2026: a clock that shows less was never set

static String deviceId, root, chain, key, brokerHost;
static uint16_t brokerPort = 8883;
static uint32_t interval = 60, sent = 0;
static unsigned long last = 0;

static WiFiClientSecure tls;
static MQTTClient mqtt(1024);

// Reads a text of whatever length it has; empty where there is none.
static String stored(const char *space, const char *name) {
  nvs_handle_t handle;
  size_t size = 0;
  String text;
  if (nvs_open_from_partition(PARTITION, space, NVS_READONLY, &handle) != ESP_OK) {
    return text;
  }
  if (nvs_get_str(handle, name, nullptr, &size) == ESP_OK && size > 1) {
    char *buffer = static_cast<char *>(malloc(size));
    if (buffer != nullptr && nvs_get_str(handle, name, buffer, &size) == ESP_OK) {
      text = buffer;
    }
    free(buffer);
  }
  nvs_close(handle);
  return text;
}

static String topic(const char *rest) { return "devices/" + deviceId + rest; }

// Takes {"seconds": 30} and nothing else: digits between the only colon and the closing brace.
static void onMessage(String &where, String &payload) {
  if (where != topic("/commands/interval")) {
    Serial.println("code=command-unknown");
    return;
  }
  unsigned seconds = 0;
  int end = 0;
  const bool read = sscanf(payload.c_str(), " { \"seconds\" : %6u } %n", &seconds, &end) == 1;
  if (!read || end != static_cast<int>(payload.length()) || seconds < 5 || seconds > 86400) {
    Serial.println("code=json-range");
    return;
  }
  interval = seconds;
  Serial.printf("code=command-done command=interval seconds=%u\n", seconds);
}

static void waitForTime() {
  // Without the time no certificate can be judged.
  configTime(0, 0, "pool.ntp.org");
  while (time(nullptr) < EARLIEST) {
    delay(500);
  }
  Serial.println("code=clock-set");
}

static void connectBroker() {
  static unsigned pause = 1000;
  const String status = topic("/status");
  mqtt.setWill(status.c_str(), "offline", true, 1);
  if (!mqtt.connect(deviceId.c_str())) {
    Serial.printf("code=tls-refused reason=%d\n", static_cast<int>(mqtt.lastError()));
    delay(random(pause)); // over the whole span, so that a fleet does not come back together
    pause = min(pause * 2, 60000U);
    return;
  }
  pause = 1000;
  Serial.println("code=mqtt-connected");
  mqtt.publish(status, "online", true, 1);
  mqtt.subscribe(topic("/commands/#"), 1);
}

void setup() {
  Serial.begin(115200);
  if (nvs_flash_init_partition(PARTITION) != ESP_OK) {
    Serial.println("code=nvs-failed");
    return; // never erased: the identity is in it
  }
  deviceId = stored("identity", "device_id");
  root = stored("identity", "root");
  chain = stored("identity", "chain");
  key = stored("identity", "key");
  brokerHost = stored("service", "broker_host");
  if (deviceId.isEmpty() || root.isEmpty() || chain.isEmpty() || key.isEmpty()) {
    Serial.println("code=nvs-missing");
    return;
  }
  WiFi.persistent(false); // or the driver writes the password into another partition
  WiFi.begin(stored("network", "ssid").c_str(), stored("network", "password").c_str());
  while (WiFi.status() != WL_CONNECTED) {
    delay(500);
  }
  waitForTime();
  // All three are needed for mutual TLS, and setCACert is what verifies the broker.
  tls.setCACert(root.c_str());
  tls.setCertificate(chain.c_str());
  tls.setPrivateKey(key.c_str());
  mqtt.begin(brokerHost.isEmpty() ? "broker.local" : brokerHost.c_str(), brokerPort, tls);
  mqtt.onMessage(onMessage);
}

void loop() {
  if (key.isEmpty()) {
    delay(1000);
    return;
  }
  if (!mqtt.connected()) {
    connectBroker();
    return;
  }
  mqtt.loop();
  if (sent == 0 || millis() - last >= interval * 1000UL) { // a difference, which survives the clock's running over
    char text[200];
    last = millis();
    snprintf(text, sizeof(text), "{\"device\":\"%s\",\"temp\":%.2f,\"hum\":%.2f,\"uptime\":%lu,\"seq\":%lu}", deviceId.c_str(),
             22.5 + random(100) / 100.0, 55.0 + random(200) / 100.0, millis() / 1000, static_cast<unsigned long>(sent));
    if (mqtt.publish(topic("/telemetry/environment").c_str(), text, false, 1)) {
      Serial.printf("code=telemetry-sent seq=%lu\n", static_cast<unsigned long>(sent));
      sent++;
    }
  }
}
