{{/* The runtime's pod template, for Deployment and StatefulSet. */}}
{{- define "arklex.runtime.template" -}}
{{- $part := dict "root" . "component" "runtime" "values" .Values.runtime -}}
{{- $postgresql := eq .Values.journal.type "postgresql" -}}
metadata:
  {{- include "arklex.podMetadata" $part | nindent 2 }}
spec:
  serviceAccountName: {{ include "arklex.fullname" . }}-runtime
  automountServiceAccountToken: true
  terminationGracePeriodSeconds: {{ ternary 35 30 $postgresql }}
  {{- include "arklex.podSpec" $part | nindent 2 }}
  {{- include "arklex.spread" $part | nindent 2 }}
  containers:
    - name: runtime
      image: {{ include "arklex.image" (dict "root" $ "image" .Values.images.runtime) }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      command: [arklex, runtime]
      env:
        {{- include "arklex.podEnv" . | nindent 8 }}
        {{- include "arklex.redisEnv" . | nindent 8 }}
        {{- if $postgresql }}
        - name: ARKLEX_JOURNAL_URL_FILE
          value: /var/run/arklex/journal/url
        {{- else }}
        - name: ARKLEX_JOURNAL_URL
          value: sqlite:////var/lib/arklex/arklex.db
        {{- end }}
        - name: ARKLEX_DOOR_TOKEN_FILE
          value: /var/run/arklex/door/token
        - name: ARKLEX_LEASE_SECONDS
          value: {{ .Values.leaseSeconds | quote }}
        - name: ARKLEX_RETENTION_SUCCEEDED
          value: {{ .Values.journal.retention.succeeded | quote }}
        - name: ARKLEX_RETENTION_FAILED
          value: {{ .Values.journal.retention.failed | quote }}
        - name: ARKLEX_WRITES_PER_SECOND
          value: {{ .Values.runtime.writesPerSecond | quote }}
        {{- with .Values.runtime.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - {name: door, containerPort: 8080}
        - {name: metrics, containerPort: 9090}
      {{- include "arklex.probes" (dict "port" "metrics" "startup" 300) | nindent 6 }}
      {{- if $postgresql }}
      {{- include "arklex.linger" . | nindent 6 }}
      {{- end }}
      resources:
        {{- toYaml .Values.runtime.resources | nindent 8 }}
      {{- include "arklex.containerSecurity" . | nindent 6 }}
      volumeMounts:
        {{- include "arklex.redisMount" . | nindent 8 }}
        - {name: door, mountPath: /var/run/arklex/door, readOnly: true}
        {{- if $postgresql }}
        - {name: journal, mountPath: /var/run/arklex/journal, readOnly: true}
        {{- else }}
        - {name: journal, mountPath: /var/lib/arklex}
        {{- end }}
        - {name: tmp, mountPath: /tmp}
  volumes:
    {{- include "arklex.redisVolume" . | nindent 4 }}
    - name: door
      secret:
        secretName: {{ include "arklex.doorSecret" . }}
        defaultMode: 0440
        items: [{key: {{ .Values.door.token.key | quote }}, path: token}]
    - name: journal
      {{- if $postgresql }}
      secret:
        secretName: {{ .Values.journal.postgresql.existingSecret }}
        defaultMode: 0440
        items: [{key: {{ .Values.journal.postgresql.key | quote }}, path: url}]
      {{- else if .Values.journal.sqlite.persistence.enabled }}
      persistentVolumeClaim: {claimName: {{ include "arklex.fullname" . }}-runtime-data}
      {{- else }}
      emptyDir: {}
      {{- end }}
    {{- include "arklex.tmpVolume" . | nindent 4 }}
{{- end }}
