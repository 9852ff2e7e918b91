"""Where the Pods behind a Service are: EndpointSlices and Endpoints. With the embedded API only."""
