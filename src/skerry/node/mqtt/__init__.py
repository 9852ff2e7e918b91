"""The node's own MQTT listener: it answers a publish when the message is on the disk, and not before."""

from __future__ import annotations

from skerry.node.mqtt.listener import Handler, ListenError, MqttListener
from skerry.node.mqtt.tls import listener_context

__all__ = ["Handler", "ListenError", "MqttListener", "listener_context"]
