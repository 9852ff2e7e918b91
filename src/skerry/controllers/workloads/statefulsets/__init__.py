"""StatefulSets: Pods with a name, an ordinal and volumes of their own."""
