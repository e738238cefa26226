{{/* A ValidatingAdmissionPolicy and its binding, which denies: (dict "root" $ "component" "admission" "suffix" "-x" "spec" "…"). */}}
{{- define "arklex.admission" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  {{- include "arklex.metadata" (merge (dict "clusterScoped" true) .) | nindent 2 }}
spec:
  failurePolicy: Fail
  {{- .spec | nindent 2 }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  {{- include "arklex.metadata" (merge (dict "clusterScoped" true) .) | nindent 2 }}
spec:
  policyName: {{ include "arklex.fullname" .root }}{{ .suffix }}
  validationActions: [Deny]
{{- end }}
