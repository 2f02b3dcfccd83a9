//! Files as people write them, with secrets in them, and files that only look like it. They were
//! written before looking at what the rules find; what is still missed stays here.
#![cfg(feature = "scan")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use sidekey::scan::detect::{Detector, Pick, PlaceKind, RuleSet, Subject, expand};
use sidekey::scan::finding::Confidence;

/// A path and a content, in which each of these values has to be found.
const LEAKY: &[(&str, &str)] = &[
    ("app/.env", "APP_ENV=production\nDB_HOST=db\nDB_PASSWORD={A16}\nMAIL_PASSWORD=\"{A12}!\"\n"),
    (
        "app/config/database.yml",
        "production:\n  adapter: postgresql\n  username: app\n  password: {A14}\n",
    ),
    (
        "app/settings.py",
        "DATABASES = {\n  'default': {\n    'USER': 'app',\n    'PASSWORD': '{A8}#{d4}x',\n  }\n}\n",
    ),
    (
        "app/appsettings.json",
        "{\"ConnectionStrings\":{\"Main\":\"Server=sql;Database=x;User Id=sa;Password={A12};\"}}",
    ),
    (
        "app/web.config",
        "<add name=\"Db\" connectionString=\"Data Source=sql;Initial Catalog=x;User ID=sa;Password={A12}\" />",
    ),
    (
        "app/application.properties",
        "spring.datasource.username=app\nspring.datasource.password={A13}\n",
    ),
    ("app/application.yml", "spring:\n  datasource:\n    username: app\n    password: '{A13}'\n"),
    ("src/Db.java", "  private static final String DB_PASSWORD = \"{A9}!{d3}\";\n"),
    ("src/db.go", "package db\n\nconst dbPassword = \"{A10}{d3}\"\n"),
    ("src/client.rb", "client = Client.new(api_key: '{h32}')\n"),
    ("src/client.ts", "export const apiKey: string = '{A36}';\n"),
    ("src/Client.cs", "var client = new Client(\"acme\") { ClientSecret = \"{w36}{d4}\" };\n"),
    ("src/conn.php", "$conn = new mysqli('db', 'root', 'x');\n$password = '{A9}@{d3}';\n"),
    ("src/main.py", "requests.get(url, headers={'Authorization': 'Bearer {w40}{d4}'})\n"),
    ("src/main.py", "conn = psycopg2.connect('postgresql://app:{A12}{d3}@db.prod.internal/app')\n"),
    (
        "src/Main.java",
        "DriverManager.getConnection(\"jdbc:mysql://db/x?user=app&password={A12}\");\n",
    ),
    (
        "deploy/docker-compose.yml",
        "services:\n  db:\n    environment:\n      - POSTGRES_PASSWORD={l10}\n      - POSTGRES_USER=app\n",
    ),
    (
        "deploy/docker-compose.yml",
        "services:\n  db:\n    environment:\n      MYSQL_ROOT_PASSWORD: {l8}{d2}\n",
    ),
    ("deploy/k8s.yaml", "env:\n- name: DB_PASSWORD\n  value: \"{A12}\"\n"),
    ("deploy/k8s-secret.yaml", "kind: Secret\nstringData:\n  password: {A12}\n"),
    (
        "deploy/main.tf",
        "resource \"aws_db_instance\" \"x\" {\n  username = \"app\"\n  password = \"{A14}\"\n}\n",
    ),
    ("deploy/terraform.tfvars", "db_password = \"{A14}\"\n"),
    (
        "deploy/terraform.tfstate",
        "{\"resources\":[{\"attributes\":{\"username\":\"app\",\"password\":\"{A14}\"}}]}",
    ),
    ("deploy/group_vars/all.yml", "mysql_root_password: {A14}\nansible_become_pass: {A10}\n"),
    (
        "root/.bash_history",
        "ls\nexport GITHUB_TOKEN={A40}\ncurl -u admin:{A12} https://x.acme.dev\n",
    ),
    ("root/.ssh/config_note", "jenkins password: {A10}!\n"),
    ("etc/my.cnf", "[client]\nuser=root\npassword={A12}\n"),
    ("etc/redis/redis.conf", "bind 0.0.0.0\nrequirepass {A20}\n"),
    ("etc/openvpn/auth.ini", "[login]\nuser=x\npass={A12}\n"),
    ("root/.pypirc", "[distutils]\n[pypi]\nusername = acme\npassword = {A16}\n"),
    ("root/.netrc", "machine api.acme.dev\n  login ci\n  password {A20}\n"),
    ("root/.docker/config.json", "{\"auths\":{\"r.acme.dev\":{\"auth\":\"{@basic}\"}}}"),
    ("root/.git-credentials", "https://ci:{A20}@git.acme.dev\n"),
    ("app/.git/config", "[remote \"origin\"]\n\turl = https://ci:{A20}@git.acme.dev/x.git\n"),
    (".circleci/config.yml", "environment:\n  NPM_TOKEN: {A36}\n"),
    (".github/workflows/ci.yml", "env:\n  DEPLOY_TOKEN: {A40}\n"),
    (".gitlab-ci.yml", "variables:\n  REGISTRY_PASSWORD: \"{A20}\"\n"),
    ("Jenkinsfile", "environment {\n  API_KEY = '{A32}'\n}\n"),
    ("Dockerfile", "FROM x\nENV API_TOKEN={A32}\nARG DB_PASS={A12}\n"),
    ("app/config.json", "{\"jwtSecret\": \"{A32}\", \"sessionSecret\": \"{A24}\"}"),
    ("app/config.toml", "[smtp]\nusername = \"x\"\npassword = \"{A16}\"\n"),
    (
        "app/secrets.json",
        "{\n  \"client_id\": \"x\",\n  \"client_secret\": \"{w32}\",\n  \"refresh_token\": \"{w48}\"\n}",
    ),
    ("app/wp-config.php", "define('AUTH_KEY', '{A32}#{A31}');\ndefine('DB_PASSWORD', '{A14}');\n"),
    ("app/config.xml", "<config><username>x</username><password>{A14}</password></config>"),
    ("app/hmac.py", "HMAC_SECRET = b'{h64}'\n"),
    ("app/crypto.env", "AES_256_KEY={h64}\nENCRYPTION_KEY={b43}=\n"),
    ("app/crypto.json", "{\"chacha20_key\": \"{h64}\", \"nonce\": \"{h24}\"}"),
    ("app/totp.txt", "TOTP secret: {t32}\n"),
    (
        "app/tokens.json",
        "{\"access_token\": \"{w60}\", \"token_type\": \"Bearer\", \"expires_in\": 3600}",
    ),
    ("app/bearer.env", "API_BEARER_TOKEN={w48}\n"),
    ("app/snowflake.yaml", "snowflake:\n  account: acme\n  user: x\n  password: {A10}!{d2}\n"),
    ("app/oracle.java", "String url = \"jdbc:oracle:thin:app/{A10}@//db:1521/x\";\n"),
    ("app/mongo.js", "mongoose.connect('mongodb+srv://app:{A14}@c0.acme.mongodb.net/x')\n"),
    ("app/rabbit.rb", "Bunny.new('amqp://app:{A14}@mq.acme.internal:5672')\n"),
    ("notes.txt", "staging login: admin / see below\nPassword: {A10}!\n"),
    ("app/log.txt", "2024-01-01 INFO connecting with password={A12} to db\n"),
    ("app/request.http", "GET https://x.acme.dev\nX-Api-Key: {A40}\n"),
    ("app/startup.ps1", "$Password = ConvertTo-SecureString '{A10}!{d2}' -AsPlainText -Force\n"),
    ("app/run.bat", "set DB_PASSWORD={A12}\n"),
    ("app/run.sh", "mysql -u root -p{A12} shop < dump.sql\n"),
    ("app/user.sql", "CREATE USER 'app'@'%' IDENTIFIED BY '{A14}';\n"),
    ("app/backup.env", "RESTIC_PASSWORD={A20}\nB2_ACCOUNT_KEY={A31}\n"),
    ("app/values.yaml", "auth:\n  rootPassword: {A12}\n  replicationPassword: {A12}\n"),
    ("app/vault.yml", "vault_password: {A20}\n"),
    (
        "app/kafka.properties",
        "sasl.jaas.config=org.apache.kafka.X required username=\"app\" password=\"{A14}\";\n",
    ),
    ("app/ldap.conf", "bindpw {A14}\n"),
    ("app/smtp.js", "auth: { user: 'a@acme.dev', pass: '{A10}#{d3}' }\n"),
    ("app/firebase.js", "const firebaseConfig = { apiKey: 'AIza{w35}' };\n"),
    ("app/app.groovy", "def credentials = [username: 'ci', password: '{A12}{d2}!']\n"),
    ("app/odbc.ini", "[x]\nUID=app\nPWD={A12}\n"),
    ("app/mix.exs", "config :app, App.Repo, username: \"app\", password: \"{A12}{d2}\"\n"),
    ("app/Config.kt", "const val API_KEY = \"{A40}\"\n"),
    ("app/Secrets.swift", "let clientSecret = \"{A36}{d2}\"\n"),
    ("app/main.cpp", "const char* kApiToken = \"{A40}{d2}\";\n"),
    ("app/main.rs", "let password = \"{A12}!{d2}\";\n"),
    ("app/conf.lua", "local db_password = \"{A12}#{d2}\"\n"),
    ("app/db.pl", "my $dbh = DBI->connect($dsn, 'root', $x); my $passwd = '{A10}!{d2}';\n"),
    ("app/settings.ini", "[azure]\ntenant_id = {h8}-{h4}-{h4}-{h4}-{h12}\nclient_secret = {A34}\n"),
    (
        "app/saml.xml",
        "<saml:Attribute Name=\"apiToken\"><saml:AttributeValue>{A40}</saml:AttributeValue></saml:Attribute>",
    ),
    ("app/rds.json", "{\"MasterUserPassword\": \"{A16}\"}"),
    (
        "app/airflow.cfg",
        "fernet_key = {w43}=\nsql_alchemy_conn = postgresql+psycopg2://a:{A12}@db/x\n",
    ),
    ("app/grafana.ini", "admin_password = {A12}\n"),
    ("app/pgbouncer.ini", "[databases]\nx = host=db user=a password={A12}\n"),
    ("app/msmtprc", "account x\nhost smtp.acme.dev\nuser a\npassword {A14}\n"),
    ("app/wpa_supplicant.conf", "network={\n  ssid=\"x\"\n  psk=\"{A14}\"\n}\n"),
    ("app/vpn.mobileconfig", "<key>SharedSecret</key>\n<string>{A20}</string>\n"),
    ("app/env.plist", "<key>DB_PASSWORD</key><string>{A14}</string>"),
    (
        "app/build.gradle",
        "signingConfigs { release { storePassword \"{A12}{d2}\"\n keyPassword \"{A12}{d2}\" } }\n",
    ),
    ("app/data.csv", "user,password\nadmin,{A12}\n"),
    ("app/notebook.ipynb", "{\"cells\":[{\"source\":[\"api_key = \\\"{A40}\\\"\\n\"]}]}"),
    ("app/postman.json", "{\"key\": \"apiKey\", \"value\": \"{A40}\"}"),
    ("app/helm.tpl.yaml", "config: |\n  db_password={A14}\n"),
    ("app/cloud-init.yml", "chpasswd:\n  list: |\n    root:{A12}\n"),
    ("app/credentials.xml", "<apiToken>{A40}</apiToken>"),
    ("app/id.txt", "Username: admin\nPassword: {A12}\n"),
    ("app/mail.txt", "The token is token={A40}, please keep it.\n"),
    ("app/backup-codes.json", "{\"recovery_codes\": [\"{h8}-{h8}\", \"{h8}-{h8}\"]}"),
    ("app/x.env", "export SLACK_SIGNING_SECRET={h32}\nTWILIO_TOKEN={h32}\n"),
    ("app/kube.yaml", "stringData:\n  api-token: {A40}\n"),
    ("app/kube2.yaml", "kind: Secret\ndata:\n  password: {b24}\n"),
    ("app/rclone.conf", "[s3]\naccess_key_id = {U20}\nsecret_access_key = {b40}\n"),
];

/// Files in which nothing is to be found.
const LOOKALIKE: &[(&str, &str)] = &[
    ("app/.env.example", "DB_PASSWORD=changeme\nAPI_KEY=your-api-key\n"),
    ("app/.env", "DB_PASSWORD=${DB_PASSWORD}\nAPI_KEY=\nSECRET_FILE=/run/secrets/x\n"),
    ("app/config.yml", "password: <%= ENV['DB_PASSWORD'] %>\napi_key: \"{{ vault_api_key }}\"\n"),
    ("app/settings.py", "PASSWORD = os.environ['DB_PASSWORD']\nAPI_KEY = getenv('X')\n"),
    (
        "app/deploy.yaml",
        "env:\n- name: DB_PASSWORD\n  valueFrom:\n    secretKeyRef:\n      name: db\n      key: password\n",
    ),
    ("app/package-lock.json", "\"integrity\": \"sha512-{b86}==\", \"token\": \"{h40}\"\n"),
    ("app/go.sum", "github.com/x/secret v1.0.0 h1:{b43}=\n"),
    (
        "app/en.json",
        "{\"password\": \"Password\", \"forgotPassword\": \"Forgot your password?\", \"token\": \"Token\"}",
    ),
    ("app/login.html", "<input type=\"password\" name=\"password\" placeholder=\"Your password\">"),
    ("app/login.js", "if (password === 'x') { setPassword(event.target.value); }\n"),
    ("app/user.rb", "validates :password, length: { minimum: 8 }\n"),
    ("README.md", "Run `docker login -u USER -p PASSWORD`. Set `API_KEY=<your key>`.\n"),
    (
        "README.md",
        "postgres://user:password@localhost:5432/db and https://user:pass@example.com/\n",
    ),
    ("app/style.css", ".password { background: url(data:image/png;base64,{b400}) }\n"),
    ("app/main.tf", "password = var.db_password\ntoken = data.vault.x.token\n"),
    ("app/schema.json", "{\"password\": {\"type\": \"string\", \"minLength\": 12}}"),
    ("app/uuid.yaml", "request_id: {h8}-{h4}-{h4}-{h4}-{h12}\nbuild: {h40}\nsha256: {h64}\n"),
    (
        "app/cert.pem",
        "-----BEGIN CERTIFICATE-----\n{b64}\n{b64}\n{b64}\n-----END CERTIFICATE-----\n",
    ),
    ("app/id.pub", "ssh-rsa {b372} user@host\n"),
    (
        "app/aws.md",
        "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE\nAWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n",
    ),
    ("app/sops.yaml", "password: ENC[AES256_GCM,data:{b20},iv:{b43}=,tag:{b22}==,type:str]\n"),
    ("app/keys.py", "PRIMARY_KEY = 'customer_id_and_date'\ncache_key = 'user:{d4}'\n"),
    ("app/csrf.html", "<input type=\"hidden\" name=\"csrf_token\" value=\"{A40}\">"),
    ("app/x.xml", "<password>${db.password}</password><secretName>app-secrets</secretName>"),
    ("app/nlp.json", "{\"eos_token\": \"<|endoftext|>\", \"pad_token\": \"[PAD]\"}"),
];

fn count(detector: &Detector, path: &str, text: &[u8]) -> usize {
    let mut count = 0;
    let subject = Subject { path: path.as_bytes(), kind: PlaceKind::File };
    detector.value(&subject, text, &mut |hit| {
        count += usize::from(hit.confidence <= Confidence::Likely);
    });
    count
}

/// Shares, not all: a file more or less is no reason to bend a rule.
#[test]
fn most_leaky_files_are_found_and_hardly_any_lookalike() {
    let set = RuleSet::built_in().unwrap();
    let detector = Detector::build(&set, &Pick::default()).unwrap();
    let mut missed = Vec::new();
    let mut wrong = Vec::new();
    for seed in 0..5 {
        let texts = LEAKY.iter().map(|(path, text)| (path, expand(text, seed)));
        missed.extend(texts.filter(|(path, text)| count(&detector, path, text) == 0));
        let texts = LOOKALIKE.iter().map(|(path, text)| (path, expand(text, seed)));
        wrong.extend(texts.filter(|(path, text)| count(&detector, path, text) > 0));
    }
    let show =
        |(path, text): &(&&str, Vec<u8>)| format!("{path}: {}", String::from_utf8_lossy(text));
    let missed_text: Vec<String> = missed.iter().map(show).collect();
    let wrong_text: Vec<String> = wrong.iter().map(show).collect();
    println!("{}\n--- wrong ---\n{}", missed_text.join("\n"), wrong_text.join("\n"));
    assert!(missed.len() * 100 <= LEAKY.len() * 5 * 5, "{} missed", missed.len());
    assert!(wrong.len() * 100 <= LOOKALIKE.len() * 5 * 4, "{} wrong", wrong.len());
}
