import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.URL;
import java.net.URLEncoder;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.UUID;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.TrustManagerFactory;

/**
 * Sends task inputs to a grid through Sluiceway and fetches the outputs: one file, Java 1.6, HttpURLConnection, nothing else.
 *
 * <pre>
 * java -Dsluiceway.token=token -Dsluiceway.ca=ca.pem SluicewayExample https://gateway-a:8443 https://gateway-b:8443
 * </pre>
 *
 * Either gateway may die on the way. Copy what you need: {@link Gateways} makes one call safe to repeat and finds a gateway that answers,
 * {@link Session} has the services by Symphony's names, {@link Json} reads JSON, which Java has no reader for.
 */
public final class SluicewayExample {

    /** Runs the example; the exit code is 0 when every task has exactly one output, and it is the right one. */
    public static void main(String[] arguments) throws Exception {
        if (arguments.length == 0) {
            System.err.println("usage: java -Dsluiceway.token=FILE [-Dsluiceway.ca=FILE] SluicewayExample https://GATEWAY ...");
            System.exit(2);
        }
        int tasks = Integer.getInteger("sluiceway.tasks", 100).intValue();
        String token = new String(read(new FileInputStream(property("sluiceway.token", "token"))), "UTF-8").trim();
        Gateways gateways = new Gateways(arguments, token, trust(System.getProperty("sluiceway.ca")));

        String connection = connect(gateways, property("sluiceway.grid", "RNDBCARDI_PROD"), property("sluiceway.application", "ping"));
        Session session = Session.create(gateways, connection, "{\"name\": \"Java example\"}");
        Map<String, String> sent = new LinkedHashMap<String, String>();
        for (int number = 1; number <= tasks; number++) {
            String input = "task " + number;
            sent.put(session.sendTaskInput(input.getBytes("UTF-8"), "task-" + number), input);
            System.out.println("sent " + number + " of " + tasks);
        }
        int repeated = collect(session, sent);
        session.close();
        gateways.call("POST", "/v1/connections/" + connection + "/close", "application/json", bytes("{}"), "application/json");
        System.out.println("lost " + sent.size() + ", repeated " + repeated);
        System.exit(sent.isEmpty() && repeated == 0 ? 0 : 1);
    }

    /** Fetches until each task has its output, and takes it out of the map; returns how many came more than once. */
    private static int collect(Session session, Map<String, String> sent) throws IOException {
        Set<String> seen = new HashSet<String>();
        int repeated = 0;
        while (!sent.isEmpty() && !session.ended()) {
            for (TaskOutput output : session.fetchTaskOutput(100, 20)) {
                if (!seen.add(output.taskId)) {
                    repeated++;
                    continue;
                }
                if (!output.successful) {
                    System.out.println("task " + output.taskId + " failed: " + output.exceptionCode + ": " + output.exceptionMessage);
                } else if (new String(output.bytes, "UTF-8").equals(sent.get(output.taskId))) {
                    sent.remove(output.taskId);
                }
            }
            System.out.println("fetched " + seen.size());
        }
        return repeated;
    }

    /** Symphony's connect: returns the id of a connection to an application of a grid. */
    static String connect(Gateways gateways, String grid, String application) throws IOException {
        String body = "{\"grid\": " + Json.quote(grid) + ", \"applicationName\": " + Json.quote(application) + "}";
        Answer answer = gateways.call("POST", "/v1/connections", "application/json", bytes(body), "application/json");
        return (String) Json.object(answer.body).get("connectionId");
    }

    /** A session: Symphony's services under their own names. */
    static final class Session {
        private final Gateways gateways;
        private final String path;
        private String cursor;
        private boolean ended;

        private Session(Gateways gateways, String path, String cursor) {
            this.gateways = gateways;
            this.path = path;
            this.cursor = cursor;
        }

        /** Creates a session; {@code attributes} is a JSON object with Symphony's SessionCreationAttributes. */
        static Session create(Gateways gateways, String connection, String attributes) throws IOException {
            Answer answer = gateways.call("POST", "/v1/connections/" + connection + "/sessions", "application/json", bytes(attributes), "application/json");
            Map<String, Object> made = Json.object(answer.body);
            return new Session(gateways, "/v1/sessions/" + made.get("sessionId"), (String) made.get("cursor"));
        }

        /** Sends one input as bytes and returns the task's id; when it returns, the input is stored durably. */
        String sendTaskInput(byte[] input, String tag) throws IOException {
            Answer answer = gateways.call("POST", path + "/tasks", "application/octet-stream", input, "application/json", "Task-Tag", tag);
            List<?> tasks = (List<?>) Json.object(answer.body).get("tasks");
            return (String) ((Map<?, ?>) tasks.get(0)).get("taskId");
        }

        /**
         * Returns up to {@code countMax} outputs, after at most {@code wait} seconds. The outputs that the call before returned are acknowledged
         * by this one, so keep them safe first. A call that fails can be made again: it returns the same outputs, from any gateway.
         */
        List<TaskOutput> fetchTaskOutput(int countMax, int wait) throws IOException {
            String query = "/outputs?countMax=" + countMax + "&wait=" + wait + "&after=" + URLEncoder.encode(cursor, "UTF-8");
            Map<String, Object> answer = Json.object(gateways.call("GET", path + query, null, null, "application/json").body);
            List<TaskOutput> outputs = new ArrayList<TaskOutput>();
            for (Object one : (List<?>) answer.get("outputs")) {
                outputs.add(new TaskOutput((Map<?, ?>) one));
            }
            cursor = (String) answer.get("cursor");
            ended = Boolean.TRUE.equals(answer.get("ended"));
            return outputs;
        }

        /** Whether the session is closed and all its outputs were handed out. */
        boolean ended() {
            return ended;
        }

        /** Closes the session (DESTROY_ON_CLOSE). As a POST, because some firewalls refuse DELETE. */
        void close() throws IOException {
            gateways.call("POST", path + "/close", "application/json", bytes("{\"closeFlags\": \"DESTROY_ON_CLOSE\"}"), "application/json");
        }
    }

    /** Symphony's TaskOutputHandle. */
    static final class TaskOutput {
        final String taskId;
        final boolean successful;
        final byte[] bytes;
        final String exceptionCode;
        final String exceptionMessage;

        TaskOutput(Map<?, ?> item) {
            taskId = (String) item.get("taskId");
            successful = Boolean.TRUE.equals(item.get("successful"));
            bytes = successful ? base64((String) item.get("output")) : null;
            Map<?, ?> exception = (Map<?, ?>) item.get("exception");
            exceptionCode = exception == null ? null : (String) exception.get("code");
            exceptionMessage = exception == null ? null : (String) exception.get("message");
        }
    }

    /** The gateways of a site. Any of them can answer any call, and every call may be repeated, so a failed one goes to the next. */
    static final class Gateways {
        private static final int CONNECT_MILLISECONDS = 5000;
        /** Above the longest wait of a long poll. */
        private static final int READ_MILLISECONDS = 45000;
        private static final long PATIENCE_MILLISECONDS = 180000;

        private final String[] addresses;
        private final String token;
        private final SSLSocketFactory sockets;
        private final Random chance = new Random();
        private int current;

        Gateways(String[] addresses, String token, SSLSocketFactory sockets) {
            this.addresses = addresses.clone();
            this.token = token;
            this.sockets = sockets;
        }

        /**
         * Makes one call and returns its answer of 2xx.
         *
         * One Idempotency-Key stands for all attempts: what was stored by an attempt whose answer was lost is not stored again. That also
         * covers what HttpURLConnection does by itself: it sends a POST a second time, silently, when a connection breaks
         * (-Dsun.net.http.retryPost=false turns that off).
         *
         * @param headers names and values in turn
         * @throws ProblemException the gateway refused the call, and repeating it would not help
         * @throws IOException no gateway has answered for three minutes
         */
        synchronized Answer call(String method, String path, String contentType, byte[] body, String accept, String... headers) throws IOException {
            String key = UUID.randomUUID().toString();
            long end = System.currentTimeMillis() + PATIENCE_MILLISECONDS;
            for (int attempt = 1; ; attempt++) {
                long pause = Math.min(10000, 100L << Math.min(attempt, 10));
                IOException failure;
                try {
                    Answer answer = exchange(method, path, contentType, body, accept, key, headers);
                    if (answer.status < 300) {
                        return answer;
                    }
                    failure = new ProblemException(answer);
                    if (!answer.mayBeRepeated()) {
                        throw failure;
                    }
                    pause = Math.max(pause, answer.retryAfterMilliseconds());
                    // 429 is about this session, not about this gateway.
                    if (answer.status != 429) {
                        next();
                    }
                } catch (ProblemException refused) {
                    throw refused;
                } catch (IOException broken) {
                    failure = broken;
                    next();
                    pause = attempt < addresses.length ? 0 : pause;
                }
                if (System.currentTimeMillis() + pause > end) {
                    throw failure;
                }
                sleep(pause + chance.nextInt(100));
            }
        }

        private void next() {
            current = (current + 1) % addresses.length;
            System.out.println("going on through " + addresses[current]);
        }

        private Answer exchange(String method, String path, String contentType, byte[] body, String accept, String key, String... headers)
                throws IOException {
            HttpURLConnection http = (HttpURLConnection) new URL(addresses[current] + path).openConnection();
            if (http instanceof HttpsURLConnection) {
                // Always the same factory: connections are kept alive per factory.
                ((HttpsURLConnection) http).setSSLSocketFactory(sockets);
            }
            http.setConnectTimeout(CONNECT_MILLISECONDS);
            http.setReadTimeout(READ_MILLISECONDS);
            http.setRequestMethod(method);
            http.setRequestProperty("Authorization", "Bearer " + token);
            http.setRequestProperty("Accept", accept);
            for (int index = 0; index < headers.length; index += 2) {
                http.setRequestProperty(headers[index], headers[index + 1]);
            }
            if (body != null) {
                http.setRequestProperty("Idempotency-Key", key);
                http.setRequestProperty("Content-Type", contentType);
                http.setDoOutput(true);
                http.setFixedLengthStreamingMode(body.length);
                OutputStream output = http.getOutputStream();
                output.write(body);
                output.close();
            }
            int status = http.getResponseCode();
            // The answer is read to its end and closed, also that of an error: only then the connection is used again. disconnect() would close it.
            InputStream input = status < 400 ? http.getInputStream() : http.getErrorStream();
            return new Answer(status, http.getHeaderField("Retry-After"), input == null ? new byte[0] : read(input));
        }

        private static void sleep(long milliseconds) throws IOException {
            try {
                Thread.sleep(milliseconds);
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
                throw new IOException("interrupted");
            }
        }
    }

    /** What a gateway answered. */
    static final class Answer {
        final int status;
        final String retryAfter;
        final byte[] body;

        Answer(int status, String retryAfter, byte[] body) {
            this.status = status;
            this.retryAfter = retryAfter;
            this.body = body;
        }

        /** 408, 429 and 5xx: the call may succeed later or elsewhere. */
        boolean mayBeRepeated() {
            return status == 408 || status == 429 || status >= 500;
        }

        long retryAfterMilliseconds() {
            try {
                return retryAfter == null ? 0 : Long.parseLong(retryAfter.trim()) * 1000;
            } catch (NumberFormatException date) {
                return 0;
            }
        }
    }

    /** A refusal: RFC 9457 problem details with a stable code. */
    static final class ProblemException extends IOException {
        private static final long serialVersionUID = 1L;

        ProblemException(Answer answer) {
            // Of a 401 to a request with a fixed length, Java keeps the body to itself (HttpRetryException).
            super("status " + answer.status + ": " + (answer.status == 401 ? "the token is not accepted " : "") + text(answer.body));
        }
    }

    /** Trusts the authorities of a PEM file; without a file those of the Java installation, or of -Djavax.net.ssl.trustStore. */
    static SSLSocketFactory trust(String file) throws GeneralSecurityException, IOException {
        KeyStore store = null;
        if (file != null) {
            InputStream input = new FileInputStream(new File(file));
            try {
                Collection<? extends Certificate> certificates = CertificateFactory.getInstance("X.509").generateCertificates(input);
                store = KeyStore.getInstance(KeyStore.getDefaultType());
                store.load(null, null);
                for (Certificate certificate : certificates) {
                    store.setCertificateEntry("ca-" + store.size(), certificate);
                }
            } finally {
                input.close();
            }
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        // By this name Java 7 speaks TLS 1.2 too; its default does not. Java 6 needs update 121 or later.
        SSLContext context = SSLContext.getInstance("TLSv1.2");
        context.init(null, trust.getTrustManagers(), null);
        return context.getSocketFactory();
    }

    private static String property(String name, String otherwise) {
        return System.getProperty(name, otherwise);
    }

    private static byte[] bytes(String text) throws IOException {
        return text.getBytes("UTF-8");
    }

    private static String text(byte[] bytes) {
        try {
            return new String(bytes, "UTF-8");
        } catch (IOException impossible) {
            throw new IllegalStateException(impossible);
        }
    }

    /** Reads a stream to its end and closes it. */
    private static byte[] read(InputStream input) throws IOException {
        try {
            ByteArrayOutputStream whole = new ByteArrayOutputStream();
            byte[] part = new byte[8192];
            for (int count = input.read(part); count >= 0; count = input.read(part)) {
                whole.write(part, 0, count);
            }
            return whole.toByteArray();
        } finally {
            input.close();
        }
    }

    /** Decodes RFC 4648 base64; java.util.Base64 came with Java 8, and javax.xml.bind left with Java 11. */
    static byte[] base64(String text) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream(text.length() * 3 / 4);
        int bits = 0;
        int count = 0;
        for (int index = 0; index < text.length() && text.charAt(index) != '='; index++) {
            bits = bits << 6 | "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".indexOf(text.charAt(index));
            count += 6;
            if (count >= 8) {
                count -= 8;
                bytes.write(bits >> count);
            }
        }
        return bytes.toByteArray();
    }

    /** Reads JSON (RFC 8259) into Map, List, String, Double, Boolean and null. */
    static final class Json {
        private final String text;
        private int at;

        private Json(String text) {
            this.text = text;
        }

        /** Reads an object. */
        @SuppressWarnings("unchecked")
        static Map<String, Object> object(byte[] body) throws IOException {
            try {
                return (Map<String, Object>) new Json(text(body)).value();
            } catch (RuntimeException wrong) {
                throw new IOException("the answer is no JSON object: " + wrong);
            }
        }

        /** Writes a string. */
        static String quote(String value) {
            StringBuilder quoted = new StringBuilder("\"");
            for (char letter : value.toCharArray()) {
                if (letter < ' ') {
                    quoted.append(String.format("\\u%04x", (int) letter));
                } else {
                    quoted.append(letter == '"' || letter == '\\' ? "\\" : "").append(letter);
                }
            }
            return quoted.append('"').toString();
        }

        private Object value() {
            char first = peek();
            if (first == '{') {
                return members();
            }
            if (first == '[') {
                return items();
            }
            if (first == '"') {
                return string();
            }
            int begin = at;
            while (at < text.length() && ",]} \t\r\n".indexOf(text.charAt(at)) < 0) {
                at++;
            }
            String word = text.substring(begin, at);
            if (word.equals("true") || word.equals("false")) {
                return Boolean.valueOf(word);
            }
            return word.equals("null") ? null : Double.valueOf(word);
        }

        private Map<String, Object> members() {
            Map<String, Object> members = new LinkedHashMap<String, Object>();
            take('{');
            while (peek() != '}') {
                String name = string();
                take(':');
                members.put(name, value());
                if (peek() != '}') {
                    take(',');
                }
            }
            take('}');
            return members;
        }

        private List<Object> items() {
            List<Object> items = new ArrayList<Object>();
            take('[');
            while (peek() != ']') {
                items.add(value());
                if (peek() != ']') {
                    take(',');
                }
            }
            take(']');
            return items;
        }

        private String string() {
            take('"');
            int end = at;
            while (text.charAt(end) != '"' && text.charAt(end) != '\\') {
                end++;
            }
            // Nearly all strings, the long ones with payloads among them, have nothing escaped in them.
            StringBuilder letters = new StringBuilder(text.substring(at, end));
            at = end;
            for (char letter = text.charAt(at++); letter != '"'; letter = text.charAt(at++)) {
                letters.append(letter == '\\' ? escaped(text.charAt(at++)) : letter);
            }
            return letters.toString();
        }

        private char escaped(char letter) {
            if (letter == 'u') {
                at += 4;
                return (char) Integer.parseInt(text.substring(at - 4, at), 16);
            }
            int place = "bfnrt".indexOf(letter);
            return place < 0 ? letter : "\b\f\n\r\t".charAt(place);
        }

        private char peek() {
            while (" \t\r\n".indexOf(text.charAt(at)) >= 0) {
                at++;
            }
            return text.charAt(at);
        }

        private void take(char wanted) {
            if (peek() != wanted) {
                throw new IllegalArgumentException("'" + wanted + "' expected at " + at);
            }
            at++;
        }
    }

    private SluicewayExample() {
    }
}
