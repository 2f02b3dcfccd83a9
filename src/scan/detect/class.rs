//! What kind of content the bytes are. It decides which rules may speak, never whether bytes are
//! looked at.

use super::text;
use crate::scan::finding::PlaceKind;

/// What the detector is told of the bytes it is about to see.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The path (of the innermost member), or the name of the variable, label or annotation.
    pub path: &'a [u8],
    /// The kind of place.
    pub kind: PlaceKind,
}

/// The class of some content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Class {
    /// Settings: any value of a key named like a password counts.
    Config,
    /// Commands: shell scripts, histories, Dockerfiles, instructions.
    Shell,
    /// Text of no known kind.
    Text,
    /// Program text: only quoted values count.
    Source,
    /// Manuals, pages, translations: what stands here is mostly shown, not used.
    Doc,
    /// Digests by the thousand: lock files, manifests of packages.
    Lock,
    /// Made by machines for machines: minified, maps, vectors.
    Generated,
    /// Not text.
    Binary,
}

const CONFIG: &str = "\
    env ini cfg conf config cnf properties yaml yml json toml tfvars tfstate tf hcl xml plist \
    settings secrets secret key pem ppk credentials creds ovpn npmrc netrc pypirc pgpass vault \
    envrc json5 jsonc reg rc kdl nix publishsettings pubxml auto dsn edn service inc ldif cred \
    auth token pass password passwd bak backup old orig save dist local production prod staging \
    development dev test sql dump log har http rest csv tsv ipynb gradle kubeconfig mobileconfig \
    rdp rdg kts eyaml sls";
const SHELL: &str = "\
    sh bash zsh fish ksh csh ps1 psm1 bat cmd dockerfile";
const SOURCE: &str = "\
    py pyi pyx js mjs cjs ts tsx jsx go rs java kt scala groovy c h cc cpp cxx hpp hh cs vb fs \
    swift m mm rb erb pl pm t php phtml lua r jl ex exs erl hrl clj cljs hs ml mli dart vue \
    svelte astro tcl el lisp scm asm s proto thrift graphql vim awk cmake am ac m4 mk d zig nim \
    pas f f90 ada jinja j2 ejs hbs pug jsp aspx cshtml pp pod6 rake gemspec cr sol coffee def \
    inl ipp tcc rst_t";
const DOC: &str = "\
    md rst adoc html htm xhtml po pot mo info texi tex man 1 2 3 4 5 6 7 8 3pm 1p 3p pod \
    txt2tags markdown mdx xsd dtd xsl docbook changelog news 3ssl 1ssl 5ssl 7ssl 3erl 3tcl 3x n \
    xlf ts_t gmo rtf bib docx pdf";
const LOCK: &str = "\
    lock sum md5sums sha256sums sha256 sha512 asc_t sig";
const GENERATED: &str = "\
    map css scss less svg wasm woff eot ttf";
const LOCK_NAMES: &str = "\
    package-lock.json npm-shrinkwrap.json yarn.lock pnpm-lock.yaml composer.lock record go.sum \
    cargo.lock gemfile.lock poetry.lock pipfile.lock uv.lock packages.lock.json \
    project.assets.json manifest.mf sha256sums sha512sums md5sums .package-lock.json deno.lock \
    bun.lock flake.lock .cargo_vcs_info.json .cargo-checksum.json contents sbom.json sri.json \
    integrity.json";
const SHELL_NAMES: &str = "\
    dockerfile containerfile makefile gnumakefile .bash_history .zsh_history .sh_history \
    .history .ash_history .mysql_history .psql_history .rediscli_history .python_history \
    .node_repl_history justfile procfile jenkinsfile entrypoint .bashrc .profile .zshrc \
    .bash_profile .zprofile .zshenv vagrantfile";
const DOC_NAMES: &str = "\
    readme license licence copying changelog changes news authors copyright metadata pkg-info";

impl Class {
    /// By the place and the name alone.
    pub fn of(subject: &Subject<'_>) -> Class {
        match subject.kind {
            PlaceKind::Env | PlaceKind::Label | PlaceKind::Annotation => return Class::Config,
            PlaceKind::Command
            | PlaceKind::Entrypoint
            | PlaceKind::Healthcheck
            | PlaceKind::History => return Class::Shell,
            PlaceKind::Author | PlaceKind::Filename => return Class::Text,
            PlaceKind::Attestation => return Class::Config,
            PlaceKind::Hidden => return Class::Text,
            PlaceKind::File => {}
        }
        let path = subject.path.to_ascii_lowercase();
        let name = path.rsplit(|&b| b == b'/').next().unwrap_or_default();
        let name = name.strip_suffix(b".gz").unwrap_or(name);
        Class::named(&path, std::str::from_utf8(name).unwrap_or_default())
    }

    fn named(path: &[u8], name: &str) -> Class {
        let stem = name.split('.').next().unwrap_or_default();
        if text::listed(LOCK_NAMES, name.as_bytes()) {
            return Class::Lock;
        }
        if name.contains(".min.") || name.ends_with("-min.js") || name.ends_with(".bundle.js") {
            return Class::Generated;
        }
        if text::listed(SHELL_NAMES, name.as_bytes())
            || name.starts_with("dockerfile")
            || name.ends_with("_history")
        {
            return Class::Shell;
        }
        if name == ".env"
            || name.starts_with(".env.")
            || name.ends_with("rc") && name.starts_with('.')
        {
            return Class::Config;
        }
        let is_doc_tree = |dir: &[u8]| path.windows(dir.len()).any(|part| part == dir);
        if text::listed(DOC_NAMES, stem.as_bytes())
            || is_doc_tree(b"usr/share/man/")
            || is_doc_tree(b"usr/share/info/")
            || is_doc_tree(b"usr/share/doc/")
        {
            return Class::Doc;
        }
        let extension = name.rsplit_once('.').map(|(_, extension)| extension);
        let Some(extension) = extension else { return Class::Text };
        let is = |list: &str| text::listed(list, extension.as_bytes());
        match () {
            () if is(SOURCE) => Class::Source,
            () if is(DOC) => Class::Doc,
            () if is(CONFIG) => Class::Config,
            () if is(SHELL) => Class::Shell,
            () if is(LOCK) => Class::Lock,
            () if is(GENERATED) => Class::Generated,
            () => Class::Text,
        }
    }

    /// Looks at the first bytes too.
    pub fn refined(self, head: &[u8]) -> Class {
        let head = &head[..head.len().min(4096)];
        let zeros = memchr::memchr_iter(0, head).count();
        if zeros > 0 && !looks_utf16(head) {
            return Class::Binary;
        }
        if matches!(self, Class::Text) && head.starts_with(b"#!") {
            return match head.iter().take(64).position(|&b| b == b'\n') {
                Some(end) if text::contains(&head[..end], b"sh") => Class::Shell,
                _ => Class::Source,
            };
        }
        if matches!(self, Class::Source | Class::Text) && longest_line(head) > 2000 {
            return Class::Generated;
        }
        self
    }
}

/// Nearly every second byte is zero.
pub(super) fn looks_utf16(head: &[u8]) -> bool {
    let zeros = |odd: usize| head.iter().skip(odd).step_by(2).filter(|&&b| b == 0).count();
    let pairs = head.len() / 2;
    let (even, odd) = (zeros(0) * 10, zeros(1) * 10);
    pairs >= 4 && (odd > pairs * 8 && even < pairs || even > pairs * 8 && odd < pairs)
}

fn longest_line(head: &[u8]) -> usize {
    head.split(|&b| b == b'\n').map(<[u8]>::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(path: &str) -> Class {
        Class::of(&Subject { path: path.as_bytes(), kind: PlaceKind::File })
    }

    #[test]
    fn the_name_tells_the_class() {
        assert_eq!(class("app/.env.production"), Class::Config);
        assert_eq!(class("root/.npmrc"), Class::Config);
        assert_eq!(class("root/.bash_history"), Class::Shell);
        assert_eq!(class("app/package-lock.json"), Class::Lock);
        assert_eq!(class("usr/share/man/man1/curl.1.gz"), Class::Doc);
        assert_eq!(class("app/static/app.min.js"), Class::Generated);
        assert_eq!(class("app/main.go"), Class::Source);
        assert_eq!(class("app/unknown"), Class::Text);
    }

    #[test]
    fn the_first_bytes_correct_the_name() {
        assert_eq!(Class::Config.refined(b"\x7fELF\0\0\0\0abc"), Class::Binary);
        assert_eq!(Class::Config.refined(b"a\0=\0b\0c\0d\0"), Class::Config);
        assert_eq!(Class::Text.refined(b"#!/bin/sh\necho"), Class::Shell);
    }
}
