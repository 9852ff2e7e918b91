"""MQTT 3.1.1 packets, both ways, without sockets: the node's listener and the simulated devices speak with them."""

from __future__ import annotations

from skerry.drivers.mqtt.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    PacketReader,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
    encode,
)
from skerry.drivers.mqtt.topics import Topic, TopicKind, may_subscribe, own_topic, parse_topic

__all__ = [
    "Connack",
    "Connect",
    "Disconnect",
    "Packet",
    "PacketReader",
    "Pingreq",
    "Pingresp",
    "Puback",
    "Publish",
    "Suback",
    "Subscribe",
    "Topic",
    "TopicKind",
    "Unsuback",
    "Unsubscribe",
    "Will",
    "encode",
    "may_subscribe",
    "own_topic",
    "parse_topic",
]
