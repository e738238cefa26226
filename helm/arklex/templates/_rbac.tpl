{{/* A service account: (dict "root" $ "component" "operator" "token" true). */}}
{{- define "arklex.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "arklex.metadata" . | nindent 2 }}
automountServiceAccountToken: false
{{- end }}

{{/* Rules for a service account in one namespace, by default the release's:
     (dict "root" $ "component" "operator" "suffix" "-operator" "namespace" "team-a" "rules" "…"). */}}
{{- define "arklex.role" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  {{- include "arklex.metadata" . | nindent 2 }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  {{- include "arklex.metadata" . | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ include "arklex.fullname" .root }}{{ .suffix | default (printf "-%s" .component) }}
subjects:
  - kind: ServiceAccount
    name: {{ include "arklex.fullname" .root }}-{{ .account | default .component }}
    namespace: {{ .root.Release.Namespace }}
{{- end }}

{{/* The same for the whole cluster. */}}
{{- define "arklex.clusterRole" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  {{- include "arklex.metadata" (merge (dict "clusterScoped" true) .) | nindent 2 }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  {{- include "arklex.metadata" (merge (dict "clusterScoped" true) .) | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ include "arklex.fullname" .root }}{{ .suffix | default (printf "-%s" .component) }}
subjects:
  - kind: ServiceAccount
    name: {{ include "arklex.fullname" .root }}-{{ .account | default .component }}
    namespace: {{ .root.Release.Namespace }}
{{- end }}

{{/* Rules wherever this installation serves: a ClusterRole, or a Role in each of watchNamespaces. */}}
{{- define "arklex.served" -}}
{{- $call := . -}}
{{- if .root.Values.watchNamespaces }}
{{- range $namespace := .root.Values.watchNamespaces }}
---
{{ include "arklex.role" (merge (dict "namespace" $namespace) $call) }}
{{- end }}
{{- else }}
---
{{ include "arklex.clusterRole" $call }}
{{- end }}
{{- end }}
