{{- define "headpond.labels" -}}
app.kubernetes.io/name: headpond
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: pooler
app.kubernetes.io/part-of: headpond
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}
{{- define "headpond.selector" -}}
app.kubernetes.io/name: headpond
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "headpond.name" -}}
{{- printf "%s-headpond" .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end }}
