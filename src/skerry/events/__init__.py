"""Events: CloudEvents, the filters of Triggers, the logs that keep them and the rules of delivery.

Import from the submodules: `events.cloudevents`, `events.log`, `events.routes`, `events.filters`, `events.delivery`.
"""
