{{/* Variables of one process. (dict "root" $ "process" "worker" "settings" merged) */}}
{{- define "damoscope.environment" -}}
{{- $values := .root.Values -}}
{{- $process := .process -}}
{{- include "damoscope.redisEnvironment" (dict "root" .root "key" $process) }}
{{- include "damoscope.telemetryEnvironment" . }}
{{- $known := .root.Files.Get "files/settings.yaml" | fromYaml }}
{{- range $name, $value := .settings }}
{{- if has $name $known.secret }}
{{- fail (printf "settings.%s: it is a secret; see the values redis and secrets" $name) }}
{{- else if not (or (has $name $known.all) (has $name $known.opentelemetry)) }}
{{- fail (printf "settings.%s: there is no such setting, or another value of the chart decides it (docs/kubernetes.md)" $name) }}
{{- else if or (has $name (get $known $process)) (has $name $known.opentelemetry) }}
{{- if not (or (kindIs "invalid" $value) (eq (toString $value) "")) }}
- name: {{ $name }}
  value: {{ include "damoscope.text" $value | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- if ne $process "worker" }}
{{- with $values.publicUrl }}
- name: DAMOSCOPE_PUBLIC_URL
  value: {{ . | quote }}
{{- end }}
{{- with $values.monitoring.prometheusUrl }}
- name: DAMOSCOPE_PROMETHEUS_URL
  value: {{ . | quote }}
{{- end }}
{{- with $values.monitoring.jaegerUrl }}
- name: DAMOSCOPE_JAEGER_URL
  value: {{ . | quote }}
{{- end }}
{{- with $values.monitoring.jaegerUiUrl }}
- name: DAMOSCOPE_JAEGER_UI_URL
  value: {{ . | quote }}
{{- end }}
{{- if $values.secrets.notifySecret }}
- name: DAMOSCOPE_NOTIFY_FILE
  value: /etc/damoscope/notify/notify
{{- end }}
{{- end }}
{{- end }}

{{/* The address of Redis, of the user that the part is. (dict "root" $ "key" "worker") */}}
{{- define "damoscope.redisEnvironment" -}}
{{- if .root.Values.valkey.enabled }}
- name: REDIS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "damoscope.valkeySecret" .root }}
      key: {{ .key }}
- name: REDIS_URL
  value: redis://{{ .key }}:$(REDIS_PASSWORD)@{{ include "damoscope.fullname" .root }}-valkey:6379/0
{{- else }}
- name: REDIS_URL
  valueFrom:
    secretKeyRef:
      name: {{ required "redis.existingSecret: name a Secret with the address of Redis, or set valkey.enabled" .root.Values.redis.existingSecret }}
      key: {{ get .root.Values.redis.keys .key }}
{{- end }}
{{- end }}

{{- define "damoscope.valkeySecret" -}}
{{- default (printf "%s-valkey" (include "damoscope.fullname" .)) .Values.valkey.existingSecret }}
{{- end }}

{{/* Where spans and metrics go. */}}
{{- define "damoscope.telemetryEnvironment" -}}
{{- $values := .root.Values -}}
{{- $name := include "damoscope.fullname" .root }}
- name: POD_NAME
  valueFrom: { fieldRef: { fieldPath: metadata.name } }
- name: POD_NAMESPACE
  valueFrom: { fieldRef: { fieldPath: metadata.namespace } }
- name: NODE_NAME
  valueFrom: { fieldRef: { fieldPath: spec.nodeName } }
{{- if not (hasKey .settings "OTEL_RESOURCE_ATTRIBUTES") }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: k8s.namespace.name=$(POD_NAMESPACE),k8s.pod.name=$(POD_NAME),k8s.node.name=$(NODE_NAME)
{{- end }}
{{- if ne .process "watcher" }}
{{- if and $values.metrics.podMonitor.enabled (not (hasKey .settings "OTEL_METRICS_EXPORTER")) }}
- name: OTEL_METRICS_EXPORTER
  value: {{ ternary "otlp,prometheus" "prometheus" (eq (include "damoscope.embedded" .root) "true") }}
- name: OTEL_EXPORTER_PROMETHEUS_HOST
  value: 0.0.0.0
- name: OTEL_EXPORTER_PROMETHEUS_PORT
  value: "9464"
{{- end }}
{{- if or $values.otlp.endpoint $values.collector.enabled }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ default (printf "http://%s-collector:4317" $name) $values.otlp.endpoint | quote }}
- name: OTEL_EXPORTER_OTLP_PROTOCOL
  value: {{ ternary $values.otlp.protocol "grpc" (ne $values.otlp.endpoint "") }}
{{- with $values.otlp.headersSecret }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: headers
{{- end }}
{{- else if include "damoscope.embedded" .root }}
{{- if eq .process "worker" }}
- name: OTLP_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ required "secrets.existingSecret: a frontend that keeps telemetry itself needs a Secret with otlp-token" $values.secrets.existingSecret }}
      key: otlp-token
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: http://{{ $name }}:{{ int $values.frontend.service.port }}/otlp
- name: OTEL_EXPORTER_OTLP_HEADERS
  value: x-damoscope-token=$(OTLP_TOKEN)
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* A variable from secrets.existingSecret, if it is there. (dict "root" $ "name" ... "key" ...) */}}
{{- define "damoscope.fromSecret" -}}
{{- with .root.Values.secrets.existingSecret }}
- name: {{ $.name }}
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $.key }}
      optional: true
{{- end }}
{{- end }}

{{/* Mounts that several parts have, and their volumes. (dict "root" $ "process" ...) */}}
{{- define "damoscope.mounts" -}}
- name: tmp
  mountPath: /tmp
{{- if .root.Values.redis.tlsSecret }}
- name: redis-tls
  mountPath: /etc/damoscope/redis
  readOnly: true
{{- end }}
{{- if and .root.Values.secrets.notifySecret (ne .process "worker") }}
- name: notify
  mountPath: /etc/damoscope/notify
  readOnly: true
{{- end }}
{{- end }}

{{- define "damoscope.volumes" -}}
- name: tmp
  emptyDir: { sizeLimit: {{ .tmp }} }
{{- with .root.Values.redis.tlsSecret }}
- name: redis-tls
  secret: { secretName: {{ . }}, defaultMode: 0440 }
{{- end }}
{{- if and .root.Values.secrets.notifySecret (ne .process "worker") }}
- name: notify
  secret: { secretName: {{ .root.Values.secrets.notifySecret }}, defaultMode: 0440 }
{{- end }}
{{- end }}

{{/* Whether a worker or watcher lives: the file that its own look at itself gives the time of now. Without Python or Redis, which would cost a busy worker more than the answer is worth. */}}
{{- define "damoscope.heartbeat" -}}
exec:
  command: [sh, -c, 'find "$DAMOSCOPE_HEARTBEAT_FILE" -newermt "30 seconds ago" | grep -q .']
timeoutSeconds: 10
{{- end }}
