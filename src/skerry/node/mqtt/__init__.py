"""The node's own MQTT listener: it answers a publish when the message is on the disk, and not before."""

from __future__ import annotations

from skerry.node.mqtt.listener import Handler, ListenError, MqttListener

__all__ = ["Handler", "ListenError", "MqttListener"]
