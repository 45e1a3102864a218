;;; eglot.el --- a real Emacs with Eglot in front of Starling  -*- lexical-binding: t; -*-

;; STARLING_COMMAND   the server to start, as JSON
;; STARLING_STYLES    completion styles for Eglot's category; none for Eglot's own choice
;; STARLING_FILE      the file to open
;; STARLING_CASES     for `starling-report': [[PLACE, TYPED], ...], where PLACE is the text that point is put behind
;; STARLING_REPORT    where `starling-report' writes what a user would see, as JSON
;; What a user sees is read from the *Completions* buffer; what came is read from Eglot's own candidates.

;;; Code:
(require 'json)
(require 'seq)
(unless (require 'eglot nil t)          ; a package of Debian's: -Q does not look there
  (require 'package)
  (add-to-list 'package-directory-list "/usr/share/emacs/site-lisp/elpa")
  (package-initialize)
  (require 'eglot))

(setq eglot-sync-connect 60 eglot-connect-timeout 60 eglot-autoshutdown nil
      make-backup-files nil auto-save-default nil create-lockfiles nil)
(add-to-list 'eglot-server-programs
             (cons 'python-mode (append (json-parse-string (getenv "STARLING_COMMAND")) nil)))
(when-let ((styles (getenv "STARLING_STYLES")))
  (dolist (category '(eglot eglot-capf))
    (add-to-list 'completion-category-overrides
                 `(,category (styles ,@(mapcar #'intern (split-string styles)))))))

(defun starling-start ()
  "Open the file, start the server, and wait until its index is there."
  (find-file (getenv "STARLING_FILE"))
  (call-interactively #'eglot)
  (let ((end (+ (float-time) 60)) ready)
    (while (not ready)
      (when (> (float-time) end) (error "The index is not ready"))
      (let ((status (condition-case nil
                        (jsonrpc-request (eglot-current-server) :starling/status (make-hash-table))
                      (jsonrpc-error 'no-starling))))
        (setq ready (or (not (consp status))
                        (eq t (plist-get (plist-get status :ranker) :index)))))
      (accept-process-output nil 0.05))))

(defun starling-go (place)
  "Put point behind PLACE, a line of the file."
  (goto-char (point-min))
  (re-search-forward (concat "^" (regexp-quote place) "$")))

(defun starling-shown ()
  "The names in *Completions*, in their order."
  (when (get-buffer "*Completions*")
    (with-current-buffer "*Completions*"
      (let ((at (point-min)) names)
        (while (setq at (text-property-not-all at (point-max) 'mouse-face nil))
          (let ((end (next-single-property-change at 'mouse-face nil (point-max))))
            (push (cons (or (get-text-property at 'completion--string)
                            (buffer-substring-no-properties at end))
                        at)
                  names)
            (setq at end)))
        (nreverse names)))))

(defun starling-patiently (ask &optional left)
  "What ASK returns; asked again, LEFT times (5), where a server that still loads let Eglot's ten seconds run out."
  (let ((left (or left 5)))
    (condition-case problem (funcall ask)
      (jsonrpc-error
       (when (= left 0) (signal (car problem) (cdr problem)))
       (message "asked again: the server let the time run out")
       (starling-patiently ask (1- left))))))

(defun starling-came ()
  "The items behind Eglot's candidates at point: what Starling sent."
  (mapcar (lambda (candidate)
            (let ((item (get-text-property 0 'eglot--lsp-item candidate)))
              (list :label (substring-no-properties (plist-get item :label))
                    :candidate (substring-no-properties candidate)
                    :sortText (or (plist-get item :sortText) ""))))
          (starling-patiently
           (lambda () (funcall (nth 2 (eglot-completion-at-point)) "" nil t)))))

(defun starling-help ()
  "Close what is open, ask for the list at point, and return the names shown."
  (completion-in-region-mode -1)
  (when (get-buffer "*Completions*") (kill-buffer "*Completions*"))
  (completion-help-at-point)
  (starling-shown))

(defun starling-at (text place typed)
  "Make the buffer TEXT again, with TYPED and point behind PLACE."
  (erase-buffer)
  (insert text)
  (starling-go place)
  (insert typed)
  (eglot--signal-textDocument/didChange))

(defun starling-line ()
  "The line that point is in."
  (buffer-substring-no-properties (line-beginning-position) (line-end-position)))

(defun starling-case (text place typed)
  "What there is to see when TYPED stands behind PLACE in TEXT."
  (let (came shown tab accepted)
    (starling-at text place typed)
    (starling-came) ; the server may know more names at the second list: it looks for them behind the first
    (setq came (starling-came) shown (mapcar #'car (starling-help)))
    (completion-at-point)
    (setq tab (starling-line))
    (dolist (name (seq-take shown 5))
      (starling-at text place typed)
      (when-let ((entry (assoc name (starling-help))))
        (with-selected-window (get-buffer-window "*Completions*" t)
          (goto-char (cdr entry))
          (choose-completion)))
      (push (starling-line) accepted))
    (list :typed typed :came (vconcat came) :shown (vconcat shown) :tab tab
          :accepted (vconcat (nreverse accepted)))))

(defun starling-report ()
  "Write what each case shows."
  (starling-start)
  (let* ((text (buffer-string))
         (report (mapcar (lambda (each) (starling-case text (aref each 0) (aref each 1)))
                         (json-parse-string (getenv "STARLING_CASES")))))
    (with-temp-file (getenv "STARLING_REPORT")
      (set-buffer-file-coding-system 'utf-8)
      (insert (json-serialize (vconcat report))))
    (eglot-shutdown (eglot-current-server))))

;;; eglot.el ends here
