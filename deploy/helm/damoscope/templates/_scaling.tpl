{{/*
How many workers' worth of work there is, in seconds of work a second: what is being done, what is
refused because there are too few, and what waits, which is to be done within drainSeconds. Divided by
the share of their time that workers are to be busy, it is how many are needed.
(dict "root" $ "values" ... "gpu" ... "model" ...)

What an image costs is measured from this pool's own workers. What waits for them is counted once,
though each frontend reports it. The queues of a model that images ask for end in a dot and its name;
those of images that name none have no dot. Where no frontend's metrics arrive there is no answer, and
no number: nobody is to be taken away because telemetry is.
*/}}
{{- define "damoscope.workQuery" -}}
{{- $keda := .root.Values.keda -}}
{{- $scaling := .values.autoscaling -}}
{{- $and := ternary (printf ",%s" $keda.selector) "" (ne $keda.selector "") -}}
{{- $all := ternary (printf "{%s}" $keda.selector) "" (ne $keda.selector "") -}}
{{- $queues := "queue!~\"[^.]+[.].+\"" -}}
{{- if .model -}}
{{- $queues = printf "queue=~\"[^.]+[.]%s\"" (replace "." "[.]" .model) -}}
{{- end -}}
{{- $own := printf "damoscope_worker_busy_seconds_total{provider%s\"cpu\",%s%s}" (ternary "!=" "=" .gpu) $queues $and -}}
{{- $images := printf "increase(damoscope_batch_size_sum%s[15m]) and on (job, instance) increase(%s[15m])" $all $own -}}
{{- $cost := printf "(sum(increase(%s[15m])) / (sum(%s) > 0) or vector(%v))" $own $images $scaling.secondsPerImage -}}
{{- $waiting := printf "(sum(max by (queue) (damoscope_queue_depth{%s%s})) or vector(0)) / %v" $queues $and $scaling.drainSeconds -}}
{{- $coming := printf "(%s)" $waiting -}}
{{- if $scaling.refused -}}
{{- $coming = printf "((sum(rate(damoscope_queue_refused_total{%s%s}[%s])) or vector(0)) + %s)" $queues $and $keda.window $waiting -}}
{{- end -}}
{{- printf "((sum(rate(%s[%s])) or vector(0)) + %s * %s) and on() (count(damoscope_workers%s) > 0)" $own $keda.window $cost $coming $all -}}
{{- end }}

{{/* A pool's ScaledObject. (dict "root" $ "component" ... "values" ... "gpu" ...) */}}
{{- define "damoscope.scaledObject" -}}
{{- $root := .root -}}
{{- $keda := $root.Values.keda -}}
{{- $scaling := .values.autoscaling -}}
{{- $name := include "damoscope.fullname" $root -}}
{{- if gt (int $scaling.min) (int $scaling.max) }}
{{- fail "autoscaling: min is more than max" }}
{{- end -}}
{{- if and (eq (int $scaling.min) 0) .model (not $scaling.cron) }}
{{- fail (printf "models: autoscaling.min of %s: without any worker its images are refused and nothing would start one; set it to 1, or name the times in autoscaling.cron" .model) }}
{{- end -}}
{{- if and (eq (int $scaling.min) 0) (not .gpu) (not $scaling.cron) }}
{{- fail "worker.autoscaling.min: without any worker images are refused and nothing would start one; leave it at 1, or name the times in worker.autoscaling.cron" }}
{{- end -}}
{{- if and (eq (int $scaling.min) 0) .gpu (not $root.Values.worker.enabled) (not $scaling.cron) (or (eq $scaling.trigger "redis") (not $scaling.refused)) }}
{{- fail "workerGpu.autoscaling.min: without any worker images are refused, so no queue would ever start one; keep worker.enabled, or use the prometheus trigger, or name the times in workerGpu.autoscaling.cron" }}
{{- end -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ $name }}-{{ .component }}
  labels: {{- include "damoscope.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    name: {{ $name }}-{{ .component }}
  minReplicaCount: {{ int $scaling.min }}
  maxReplicaCount: {{ int $scaling.max }}
  pollingInterval: {{ int $scaling.pollingInterval }}
  cooldownPeriod: {{ int $scaling.cooldownPeriod }}
  advanced:
    horizontalPodAutoscalerConfig:
      behavior: {{- toYaml $scaling.behavior | nindent 8 }}
  triggers:
    {{- if eq $scaling.trigger "prometheus" }}
    - type: prometheus
      metricType: AverageValue
      metadata:
        serverAddress: {{ required "keda.prometheusUrl: KEDA needs a Prometheus to ask, or the trigger redis" (default $root.Values.monitoring.prometheusUrl $keda.prometheusUrl) | quote }}
        query: {{ include "damoscope.workQuery" . | quote }}
        # An empty answer is none, and not 0.
        ignoreNullValues: "false"
        threshold: {{ include "damoscope.text" $scaling.target | quote }}
        # Where there would be no worker at all, any image that is refused is reason enough.
        activationThreshold: {{ include "damoscope.text" (ternary 0 $scaling.activation (not (and $root.Values.worker.enabled (or .gpu $root.Values.workerGpu.enabled)))) | quote }}
        {{- range $key, $value := $keda.metadata }}
        {{ $key }}: {{ include "damoscope.text" $value | quote }}
        {{- end }}
      {{- with $keda.authenticationRef }}
      authenticationRef: {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- else }}
    {{- $suffix := ternary (printf ".%s" .model) "" (ne .model "") }}
    {{- range list "detections-high" "detections" "detections-low" }}
    - type: redis
      metricType: AverageValue
      metadata:
        {{- if $root.Values.valkey.enabled }}
        address: {{ printf "%s-valkey.%s:6379" $name $root.Release.Namespace | quote }}
        {{- else }}
        address: {{ required "keda.redis.address: HOST:PORT of Redis for the trigger redis" $keda.redis.address | quote }}
        {{- end }}
        listName: rq:queue:{{ . }}{{ $suffix }}
        listLength: {{ include "damoscope.text" $scaling.listLength | quote }}
        activationListLength: {{ include "damoscope.text" (floor $scaling.activation) | quote }}
        databaseIndex: {{ include "damoscope.text" $keda.redis.database | quote }}
        enableTLS: {{ $keda.redis.tls | quote }}
      authenticationRef:
        name: {{ $name }}-redis
    {{- end }}
    {{- end }}
    {{- range $scaling.cron }}
    - type: cron
      metadata:
        {{- range $key, $value := . }}
        {{ $key }}: {{ include "damoscope.text" $value | quote }}
        {{- end }}
    {{- end }}
{{- end }}
